// The release of OpenNebula that the stand-in plays. Rules that differ between releases ask it.

/** The release of the recorded calls. */
export const recordedRelease = '6.10.5';

function numbers(text: string): readonly number[] {
  return text.split('.').map(Number);
}

export class Release {
  /** As one.system.version answers, for example 6.10.5. */
  readonly text: string;

  /** @throws Error when `text` is not a release number. */
  constructor(text: string = recordedRelease) {
    if (!/^\d+\.\d+\.\d+$/.test(text)) throw new Error(`${text} is not a release of OpenNebula`);
    this.text = text;
  }

  /** Whether this release is `other` or a later one. */
  atLeast(other: string): boolean {
    const [own, wanted] = [numbers(this.text), numbers(other)];
    for (const [at, number] of wanted.entries()) {
      const mine = own[at] ?? 0;
      if (mine !== number) return mine > number;
    }
    return true;
  }
}
