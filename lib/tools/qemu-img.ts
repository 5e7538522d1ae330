// qemu-img, with every format said aloud: nothing is ever probed.
import type { Runner } from '../run/runner.ts';

/** Converts the raw file `source` into the new qcow2 file `target`, holes staying holes. */
export async function wrapInQcow2(runner: Runner, source: string, target: string): Promise<void> {
  await runner.run(
    { program: 'qemu-img', args: ['convert', '-f', 'raw', '-O', 'qcow2', source, target] },
    { doing: `wrap ${source} in qcow2`, timeoutMs: 0 },
  );
}
