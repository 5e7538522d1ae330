// What NBD servers answer: handshake, block status, data. The seeds are recordings of real servers (nbd-record.ts).
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openNbdReader } from '../../../lib/read/nbd-reader.ts';
import { quiet } from '../../support/nbd-servers.ts';
import { filesIn } from '../folder.ts';
import { mutate, type Chance } from '../mutations.ts';
import { partsOf, recordingOf, replayServer } from '../nbd-replay.ts';
import { changeField } from '../numbers.ts';
import type { Target } from '../target.ts';
import { must } from '../target.ts';
import { mustAscend } from './json.ts';

/** A server that may take as long as it likes ends the connection when it has nothing more to say. */
const stallMs = 30_000;
/** More than this is not read of a disk that claims to be large. */
const mostRead = 4 * 1024 * 1024;

let server: Promise<Server> | undefined;
let folder = '';
let current: Buffer = Buffer.alloc(0);

function socketPath(): string {
  folder ||= mkdtempSync(join(tmpdir(), 'onevmdump-fuzz-'));
  return join(folder, 's');
}

/** Changes numbers where the protocol has some: at even places; or the order, the number or the bytes of the messages. */
function mutateRecording(seed: Buffer, chance: Chance): Buffer {
  const parts = partsOf(seed).map((part): Buffer => Buffer.from(part));
  for (let times = chance.of([1, 1, 2, 4]); times > 0; times--) {
    const at = chance.below(parts.length);
    const part = parts[at] ?? Buffer.alloc(0);
    switch (chance.below(8)) {
      case 0:
        parts.splice(at, 1);
        break;
      case 1:
        parts.splice(at, 0, part);
        break;
      case 2:
        // Repeated again and again, a part would fill the memory of the test itself.
        if (part.length < 4096) {
          parts[at] = Buffer.concat(Array<Buffer>(chance.of([2, 3, 300])).fill(part));
        }
        break;
      case 3:
        parts[at] = mutate(part, chance);
        break;
      default: {
        const offset = chance.below(Math.max(1, Math.min(part.length, 200) / 2)) * 2;
        changeField(part, { offset, bytes: chance.of([2, 4, 8] as const) }, 'big', chance);
      }
    }
  }
  return recordingOf(parts);
}

export const nbd: Target = {
  name: 'nbd',
  seeds: () => filesIn('fuzz/nbd', /\.recording$/),
  mutate: mutateRecording,
  refuses: ['FailedError'],
  async read(input) {
    server ??= replayServer(socketPath(), () => current);
    await server;
    current = input;
    const reader = await openNbdReader({
      ...{ socketPath: socketPath(), exportName: '', label: 'disk 0 of VM 7', log: quiet },
      ...{ signal: undefined, stallMs },
    });
    try {
      const extents = await reader.extents();
      mustAscend(extents, reader.virtualSize);
      let left = 0;
      const wanted = [...extents].filter(({ length }) => (left += length) <= mostRead);
      let expected = wanted.reduce((sum, { length }) => sum + length, 0);
      for await (const piece of reader.read(wanted)) expected -= piece.length;
      must(expected === 0, 'as many bytes as were asked for');
      return extents;
    } finally {
      await reader.close();
    }
  },
  async close() {
    (await server)?.close();
    server = undefined;
    if (folder !== '') rmSync(folder, { recursive: true, force: true });
    folder = '';
  },
};
