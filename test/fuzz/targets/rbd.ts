// The stream of `rbd export-diff`.
import { diffPieces, type DataPiece } from '../../../lib/read/rbd-diff-stream.ts';
import { data, end, head, size, to, zero } from '../../support/rbd-streams.ts';
import { mutate, type Chance } from '../mutations.ts';
import { changeField } from '../numbers.ts';
import { inPieces } from '../reading.ts';
import { must, type Target } from '../target.ts';
import { mustAscend } from './json.ts';

const imageBytes = 256 * 1024;

/** The records of a stream that is well-formed. */
function recordsOf(stream: Buffer): Buffer[] {
  const records = [stream.subarray(0, head.length)];
  for (let at = head.length; at < stream.length;) {
    const tag = String.fromCharCode(stream[at] ?? 0);
    const rest = stream.subarray(at);
    const length =
      tag === 'w'
        ? 17 + Number(rest.readBigUInt64LE(9))
        : tag === 'z'
          ? 17
          : tag === 's'
            ? 9
            : tag === 't'
              ? 5 + rest.readUInt32LE(1)
              : 1;
    records.push(rest.subarray(0, length));
    at += length;
  }
  return records;
}

const tags = Array.from(Buffer.from('estwzfx'));

function mutateStream(seed: Buffer, chance: Chance): Buffer {
  if (chance.below(5) === 0) return mutate(seed, chance);
  const records = recordsOf(seed);
  for (let times = chance.of([1, 1, 2, 4]); times > 0; times--) {
    const at = chance.below(records.length);
    const record = Buffer.from(records[at] ?? end);
    switch (chance.below(6)) {
      case 0:
        records.splice(at, 1);
        break;
      case 1:
        records.splice(chance.below(records.length), 0, record);
        break;
      case 2:
        record[0] = chance.of(tags);
        records[at] = record;
        break;
      default: {
        const bytes = chance.of([4, 8, 8] as const);
        changeField(record, { offset: chance.of([1, 9]), bytes }, 'little', chance);
        records[at] = record;
      }
    }
  }
  return Buffer.concat(records);
}

export const rbdExportDiff: Target = {
  name: 'rbd-export-diff',
  seeds: () => {
    const opening = [head, to('snap'), size(imageBytes)];
    const some = [data(0, Buffer.alloc(5000, 'a')), zero(8192, 4096), data(65_536, Buffer.alloc(300, 'b'))];
    return [
      Buffer.concat([...opening, ...some, data(imageBytes - 4, Buffer.from('last')), end]),
      Buffer.concat([...opening, end]),
      Buffer.concat([head, size(imageBytes), to('snap'), zero(0, imageBytes), end]),
    ];
  },
  mutate: mutateStream,
  refuses: ['FailedError'],
  async read(input) {
    const expected = { virtualSize: imageBytes, snapshot: 'snap', label: 'disk 0' };
    const pieces: DataPiece[] = [];
    for await (const piece of diffPieces(inPieces(input), expected)) pieces.push(piece);
    mustAscend(pieces.map((one) => ({ offset: one.offset, length: one.data.length })), imageBytes);
    // Only the records of a sound stream are as long as the stream.
    const records = recordsOf(input);
    must(Buffer.concat(records).equals(input), 'a stream with something between its records');
    must(records.at(-1)?.equals(end) === true, 'a stream without its end');
    return pieces;
  },
}; // prettier-ignore
