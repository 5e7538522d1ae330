// What OpenNebula's hook manager gives to a hook: the VM's XML.
import { decodeVmInput, readStdin, type InputStream } from '../xml/stdin.ts';
import { UsageError } from '../report/errors.ts';

export interface HookInput {
  /** The arguments after the program's name. */
  readonly words: readonly string[];
  readonly stdin: InputStream;
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Reads the VM's XML. With ARGUMENTS_STDIN = yes it is on stdin; else $TEMPLATE is one of the arguments, and stdin is empty.
 * @throws UsageError when there is no such XML, or more than one argument is a VM's XML
 */
export async function readHookInput(words: readonly string[], stdin: InputStream): Promise<Buffer> {
  if (words.length === 0) return decodeVmInput(await readStdin(stdin));
  if (words.length === 1) return decodeVmInput(Buffer.from(words[0] ?? ''));
  // ARGUMENTS may have more words than $TEMPLATE; they are ignored.
  const found = words.flatMap((word) => {
    try {
      return [decodeVmInput(Buffer.from(word))];
    } catch {
      return [];
    }
  });
  const [only, ...more] = found;
  if (only && more.length === 0) return only;
  throw new UsageError(
    `${found.length} of the ${words.length} arguments are a VM's XML, plain or in base64; one must be`,
  );
}
