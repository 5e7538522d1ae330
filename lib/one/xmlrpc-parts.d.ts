// The parts of the npm package xmlrpc 1.3.2 that messages.ts uses. @types/xmlrpc describes only the package as a
// whole.
declare module 'xmlrpc/lib/serializer.js' {
  const serializer: {
    /** @returns the document of a call, with an XML declaration */
    serializeMethodCall(method: string, params: readonly unknown[]): string;
  };
  export default serializer;
}

declare module 'xmlrpc/lib/customtype.js' {
  /** A value with its own element, written as escaped text. */
  export default class CustomType {
    tagName: string;
    constructor(raw: string);
  }
}

declare module 'xmlrpc/lib/deserializer.js' {
  import type { Readable } from 'node:stream';
  export default class Deserializer {
    deserializeMethodResponse(
      stream: Readable,
      callback: (error: (Error & { faultCode?: unknown }) | null, value?: unknown) => void,
    ): void;
  }
}
