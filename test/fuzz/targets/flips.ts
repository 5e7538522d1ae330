// One flipped bit anywhere in a bundle: `verify` finds each that changes what is unpacked, and what a restore or an
// extraction reads to its end is never wrong.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OpenedBundle } from '../../../lib/bundle/read/opened-bundle.ts';
import { openBundle } from '../../../lib/bundle/read/reader.ts';
import { verifyBundle } from '../../../lib/bundle/read/verify.ts';
import { OnevmdumpError } from '../../../lib/report/errors.ts';
import { silent } from '../../../lib/report/progress.ts';
import { extractDisk } from '../../../lib/restore/extract-disk.ts';
import { requireRestorable } from '../../../lib/restore/restorable.ts';
import { memorySource } from '../../support/read-bundle.ts';
import { noLog } from '../../support/write-bundle.ts';
import type { Form } from '../forms.ts';
import { must, type Target } from '../target.ts';
import { forms } from './bundle.ts';

/** Of so many flips one also goes through the files of an extraction, which takes programs. */
const extractedOnce = 16;

/** What is in a bundle, by name. */
type Contents = ReadonlyMap<string, Buffer>;

const sound = new Map<Form, Contents>();

const ours = async (): Promise<readonly Form[]> =>
  (await forms()).filter(({ name }) => name.startsWith('indexed'));

/** The bundle in which one bit was flipped. */
async function originOf(input: Buffer): Promise<Form> {
  for (const form of await ours()) {
    if (form.bytes.length !== input.length) continue;
    let differing = 0;
    for (let at = 0; at < input.length; at++) differing += form.bytes[at] === input[at] ? 0 : 1;
    if (differing <= 1) return form;
  }
  throw new Error('more than one bit was flipped');
}

/** Everything that can be read to its end without an error. */
async function readable(opened: OpenedBundle): Promise<Contents> {
  const found = new Map<string, Buffer>([['vm.xml', opened.vmXml]]);
  const add = async (name: string, read: () => Promise<Buffer>): Promise<void> => {
    try {
      found.set(name, await read());
    } catch (error) {
      if (!(error instanceof OnevmdumpError)) throw error;
    }
  };
  for (const file of opened.state) await add(file.member, () => file.read());
  for (const disk of opened.disks) {
    await add(disk.member, async () => {
      const content = Buffer.alloc(disk.size);
      for await (const { offset, data } of disk.pieces()) content.set(data, offset);
      return content;
    });
  }
  return found;
}

const open = (bytes: Buffer): Promise<OpenedBundle> =>
  openBundle(memorySource(bytes, 'b').source, { log: noLog });

async function soundContents(form: Form): Promise<Contents> {
  const known = sound.get(form) ?? (await readable(await open(form.bytes)));
  sound.set(form, known);
  return known;
}

/** The same as files. */
async function extracted(opened: OpenedBundle, expected: Contents): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'onevmdump-fuzz-'));
  const undone = { done: () => Promise.resolve(), hold: () => Promise.resolve() };
  const record = () => Promise.resolve({ ...undone, update: () => Promise.resolve() });
  try {
    for (const { id, member } of opened.disks) {
      const file = join(folder, String(id));
      const request = { bundle: opened, diskId: id, format: undefined, file, force: false };
      const context = { log: noLog, signal: new AbortController().signal, progress: silent };
      try {
        await extractDisk({ ...request, source: undefined }, { ...context, record });
      } catch (error) {
        if (!(error instanceof OnevmdumpError)) throw error;
        continue;
      }
      must(expected.get(member)?.equals(readFileSync(file)) === true, `wrong bytes in ${member}`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

let count = 0;

export const flips: Target = {
  name: 'flips',
  seeds: async () => (await ours()).map(({ bytes }) => bytes),
  mutate(seed, chance) {
    const bytes = Buffer.from(seed);
    const at = chance.below(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << chance.below(8));
    return bytes;
  },
  refuses: ['BundleError'],
  async read(input) {
    const expected = await soundContents(await originOf(input));
    let read: Contents = new Map();
    try {
      const opened = await open(input);
      read = await readable(opened);
      for (const [name, content] of read) {
        must(expected.get(name)?.equals(content) === true, `wrong bytes in ${name}`);
      }
      count += 1;
      if (count % extractedOnce === 0) await extracted(opened, expected);
      await opened.close();
    } catch (error) {
      if (!(error instanceof OnevmdumpError)) throw error;
    }
    const { source } = memorySource(input, 'b');
    await verifyBundle(source, { log: noLog, progress: silent, restorable: requireRestorable });
    must(read.size === expected.size, 'verify says OK, and not everything can be read');
  },
};
