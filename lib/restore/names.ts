// The names a restore gives. They are checked before any data moves, by oned's own rule
// (PoolObjectSQL.cc, name_is_valid, 6.4 to 7.4).
import type { OneClient } from '../one/client.ts';
import { imageNames } from '../one/images.ts';
import { templateNames } from '../one/templates.ts';
import { UsageError } from '../report/errors.ts';

/** Bytes of UTF-8. */
const maxNameBytes = 128;
// oned's list has no other control characters; XML cannot carry them.
const forbidden = /[&|:\\";/'#{}$<>\t\n\v\f\r]/;

/** The image of a disk. */
export function imageName(base: string, diskId: number): string {
  return `${base}-disk-${diskId}`;
}

/** `backup-<vm id>-<time of the export>`, UTC: `backup-8-20261123-040512`. */
export function defaultName(vmId: number, created: Date): string {
  const digits = created.toISOString().replaceAll(/[-:]/g, '');
  return `backup-${vmId}-${digits.slice(0, 8)}-${digits.slice(9, 15)}`;
}

/** @throws UsageError when oned would not take `base`, or the name of one of its images */
export function requireValidName(base: string, diskIds: readonly number[]): void {
  if (base === '') throw new UsageError('the name must not be empty');
  const character = forbidden.exec(base)?.[0];
  if (character !== undefined) {
    throw new UsageError(
      `the name ${JSON.stringify(base)} holds ${JSON.stringify(character)}, which OpenNebula allows in no name`,
    );
  }
  for (const name of [base, ...diskIds.map((id) => imageName(base, id))]) {
    const bytes = Buffer.byteLength(name);
    if (bytes <= maxNameBytes) continue;
    throw new UsageError(
      `the name ${JSON.stringify(name)} has ${bytes} bytes, and OpenNebula allows ${maxNameBytes}: choose a shorter one with --name`,
    );
  }
}

/** What is taken at one moment, by name. */
export interface TakenNames {
  readonly templates: ReadonlyMap<string, number>;
  readonly images: ReadonlyMap<string, number>;
}

/** The names that are taken already. @param owners user ids; default: the caller alone */
export async function takenNames(one: OneClient, owners?: readonly number[]): Promise<TakenNames> {
  const templates = new Map<string, number>();
  const images = new Map<string, number>();
  for (const owner of owners ?? [undefined]) {
    for (const [name, id] of await templateNames(one, owner)) templates.set(name, id);
    for (const [name, id] of await imageNames(one, owner)) images.set(name, id);
  }
  return { templates, images };
}

/** Base names under which template and images are free, best first. */
export class FreeNames {
  readonly #wanted: string | undefined;
  readonly #fallback: string;
  readonly #diskIds: readonly number[];
  readonly #taken: TakenNames;
  #number = 0;

  /**
   * @param wanted the only one that is tried; undefined: `fallback`, numbered when the bundle was restored before
   * @throws UsageError when oned would not take such a name
   */
  constructor(
    wanted: string | undefined,
    fallback: string,
    diskIds: readonly number[],
    taken: TakenNames,
  ) {
    this.#wanted = wanted;
    this.#fallback = fallback;
    this.#diskIds = diskIds;
    this.#taken = taken;
    requireValidName(wanted ?? fallback, diskIds);
  }

  /** @throws UsageError when the wanted name is taken, or was given out already */
  next(): string {
    if (this.#wanted !== undefined) {
      const why = this.#number++ > 0 ? 'by a template' : this.#takenBy(this.#wanted);
      if (why === undefined) return this.#wanted;
      throw new UsageError(`the name ${this.#wanted} is taken ${why}; choose another with --name`);
    }
    for (;;) {
      this.#number++;
      const name = this.#number === 1 ? this.#fallback : `${this.#fallback}-${this.#number}`;
      if (this.#takenBy(name) === undefined) return name;
    }
  }

  #takenBy(base: string): string | undefined {
    const template = this.#taken.templates.get(base);
    if (template !== undefined) return `by the template ${template}`;
    for (const id of this.#diskIds) {
      const image = this.#taken.images.get(imageName(base, id));
      if (image !== undefined) return `by the image ${image} (${imageName(base, id)})`;
    }
    return undefined;
  }
}
