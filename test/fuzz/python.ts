// Python judges what was read: its XML parser (expat) and its tarfile module know nothing of ours.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { XmlElement } from '../../lib/xml/xml.ts';

/** Runs a script on a folder with these files, `0`, `1`, ... @returns the lines that it prints, one for each */
function judged(script: string, files: readonly Buffer[]): readonly unknown[] {
  const folder = mkdtempSync(join(tmpdir(), 'onevmdump-fuzz-'));
  try {
    for (const [at, bytes] of files.entries()) writeFileSync(join(folder, String(at)), bytes);
    const args = ['-c', script, folder, String(files.length)];
    const output = execFileSync('python3', args, { encoding: 'utf8', maxBuffer: 1 << 28 });
    return output
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as unknown);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const xmlScript = `
import json, sys, xml.etree.ElementTree as tree
def shown(one):
    children = [shown(child) for child in one]
    return [one.tag, (one.text or '') if not children else '', sorted(one.attrib.items()), children]
for n in range(int(sys.argv[2])):
    try:
        print(json.dumps(shown(tree.parse(sys.argv[1] + '/' + str(n)).getroot())))
    except tree.ParseError as error:
        print(json.dumps(str(error)))
`;

/** Python reads the same elements, texts and attributes. Its texts are those of our parser, since neither trims. */
export function agreeOnXml(
  read: readonly { readonly input: Buffer; readonly value: XmlElement }[],
): readonly (string | undefined)[] {
  const answers = judged(xmlScript, read.map(({ input }) => input));
  return read.map(({ input, value }, at) => {
    // A comment cuts a text in two for ElementTree; a colon is a prefix for it.
    if (/<!--|xmlns|[<\s/][\w.-]*:/.test(input.toString('latin1'))) return undefined;
    const [ours, theirs] = [JSON.stringify(shown(value)), JSON.stringify(answers[at])];
    const from = Array.from(ours).findIndex((letter, place) => letter !== theirs[place]);
    const part = (text: string): string => text.slice(Math.max(0, from - 50), from + 200);
    return ours === theirs ? undefined : `Python reads ${part(theirs)}, and we ${part(ours)}`;
  });
} // prettier-ignore

function shown({ name, text, attributes, children }: XmlElement): unknown {
  const pairs = [...(attributes ?? [])].sort(([one], [other]) => (one < other ? -1 : 1));
  return [name, text, pairs, children.map(shown)];
}

const tarScript = `
import hashlib, json, sys, tarfile
for n in range(int(sys.argv[2])):
    try:
        members = []
        with tarfile.open(sys.argv[1] + '/' + str(n), 'r:') as archive:
            for member in archive:
                digest = None
                if member.isreg() and member.size < 1 << 24:
                    digest = hashlib.sha256(archive.extractfile(member).read()).hexdigest()
                members.append([member.name.removeprefix('./').rstrip('/') or '.', member.isdir(), 0 if member.isdir() else member.size, digest])
        print(json.dumps(members))
    except Exception as error:
        print(json.dumps(str(error)))
`;

/** The members of archives, as Python reads them; a text when it refuses an archive. */
export function tarMembers(archives: readonly Buffer[]): readonly unknown[] {
  return judged(tarScript, archives);
}
