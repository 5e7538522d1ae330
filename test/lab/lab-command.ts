// Starts and stops labs by lab.sh, which prints what tests need to know as NAME=VALUE lines.
import { runProgram } from './program.ts';
import { limits } from '../support/limits.ts';

export type LabName = 'libvirt' | 'lvm' | 'ceph';

const script = new URL('lab.sh', import.meta.url).pathname;

/** What a running lab says of itself. */
export class Facts {
  readonly #facts: ReadonlyMap<string, string>;

  constructor(output: string) {
    const lines = output.split('\n').filter((line) => line.includes('='));
    this.#facts = new Map(
      lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    );
  }

  /** @throws Error when the lab did not say it */
  get(name: string): string {
    const value = this.#facts.get(name);
    if (value === undefined) throw new Error(`the lab does not say what its ${name} is`);
    return value;
  }

  /** Whether this call started the lab; else it ran before. */
  get startedNow(): boolean {
    return this.get('started') === 'yes';
  }
}

/** Starts a lab unless it runs. Several callers at once are served one after another. */
export async function startLab(name: LabName, ...options: readonly string[]): Promise<Facts> {
  return new Facts(
    await runProgram('bash', [script, 'up', name, ...options], { timeoutMs: limits.labStartMs }),
  );
}

/** Ends a lab: no process and no mount is left. Its downloads stay. */
export async function stopLab(name: LabName): Promise<void> {
  await runProgram('bash', [script, 'down', name]);
}
