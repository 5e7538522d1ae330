// The records of a PAX extended header: `<length> <key>=<value>\n`, length in bytes of the whole
// record. Source: POSIX pax, "pax Extended Header File Format". npm's tar reads them too, but it
// drops the GNU.sparse ones and repeated keys, which sparse format 0.0 needs.
import { BundleError } from '../report/errors.ts';

export type PaxRecord = readonly [key: string, value: string];

const space = 0x20;
const newline = 0x0a;
/** Characters, with the leading zeros that GNU tar and bsdtar read over. */
const longestNumber = 32;

/** All records in order. @throws BundleError when the header is not well-formed. */
export function parsePaxRecords(body: Buffer): PaxRecord[] {
  const records: PaxRecord[] = [];
  for (let at = 0; at < body.length;) {
    const gap = body.indexOf(space, at);
    const digits = gap < 0 || gap - at > longestNumber ? '' : body.toString('latin1', at, gap);
    const end = /^[0-9]+$/.test(digits) ? at + Number(digits) : 0;
    const equals = body.indexOf(0x3d, gap);
    if (end <= equals || end > body.length || equals < 0 || body[end - 1] !== newline) {
      throw new BundleError('a PAX header is not well-formed');
    }
    records.push([
      body.toString('utf8', gap + 1, equals),
      body.toString('utf8', equals + 1, end - 1),
    ]);
    at = end;
  }
  return records;
}

/** The last value of a key, as POSIX demands. */
export function paxValue(records: readonly PaxRecord[], key: string): string | undefined {
  return records.findLast(([one]) => one === key)?.[1];
}

/** A value as a number of bytes. @throws BundleError */
export function paxNumber(value: string, key: string): number {
  const isNumber = value.length <= longestNumber && /^[0-9]+$/.test(value);
  const number = isNumber ? Number(value) : NaN;
  if (Number.isSafeInteger(number)) return number;
  throw new BundleError(`the PAX record ${key} is not a size`);
}
