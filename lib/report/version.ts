// The version of this program. The build takes it from package.json.
declare global {
  var ONEVMDUMP_VERSION: string | undefined;
}

/** Such as `0.1.0`; `development` when run from the sources. */
export const toolVersion: string = globalThis.ONEVMDUMP_VERSION ?? 'development';
