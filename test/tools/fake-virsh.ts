// A fake virsh for the domain one-7.
import { expect } from '@jest/globals';
import { domainAt, type Domain } from '../../lib/tools/virsh.ts';
import { withFakes } from './fake-on-path.ts';

/** The domain `one-7` of a virsh that does this; and the words of its calls, without `virsh --connect x:///`. */
export async function withVirsh(
  lines: string,
  body: (domain: Domain, calls: () => Promise<readonly string[]>) => Promise<void>,
): Promise<void> {
  await withFakes({ virsh: lines }, async (fakes) => {
    await body(domainAt(fakes.runner, 'x:///', 'one-7'), async () =>
      (await fakes.calls()).map((words) => {
        expect(words.slice(0, 3)).toEqual(['virsh', '--connect', 'x:///']);
        return words.slice(3).join(' ');
      }),
    );
  });
}

/** The lines of a program that prints this. */
export const printing = (text: string) => `cat <<'END'\n${text}\nEND`;
/** The lines of a program that fails with these words. */
export const failing = (says: string) => `cat >&2 <<'END'\n${says}\nEND\nexit 1`;
