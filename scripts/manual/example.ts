// The worked example of docs/bundle-format.md: a small bundle, made by the real writer. The dumps and the JSON of the document
// are made from it by `npm run docs`, and a test compares them.
import { pickCompressor } from '../../lib/bundle/write/compressor.ts';
import { BundleWriter } from '../../lib/bundle/write/writer.ts';
import { Extents } from '../../lib/read/extents.ts';
import { silent } from '../../lib/report/progress.ts';
import { dictionary } from '../../lib/run/json-object.ts';
import { anything, parseShape } from '../../lib/run/json-shape.ts';

const virtualSize = 10_752;
const extents = [
  { offset: 4096, length: 4096, content: 'A' },
  { offset: 10_240, length: 512, content: 'B' },
];
const ignore = () => undefined;

/** The bytes of the bundle: the same ones each time. */
export async function exampleBundle(): Promise<Buffer> {
  const written: Buffer[] = [];
  const sink = {
    name: 'example.tar',
    write: (data: Uint8Array) => Promise.resolve(void written.push(Buffer.from(data))),
    commit: () => Promise.resolve(),
    discard: () => Promise.resolve(),
  };
  const created = new Date('2026-01-02T03:04:05Z');
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  const codec = await pickCompressor({ method: 'none' });
  const writer = new BundleWriter(sink, codec, { created, log });
  await writer.addFile('./vm.xml', Buffer.from('<VM><ID>7</ID></VM>\n'));
  const disk = { id: 0, member: './backup.disk.0', format: 'raw', virtualSize } as const;
  await writer.addAbout({
    format: 'onevmdump',
    version: 1,
    id: '01234567-89ab-4def-8123-456789abcdef',
    tool: { name: 'example', version: '1.0' },
    created: created.toISOString(),
    vm: { id: 7, name: 'web', state: 'POWEROFF' },
    consistency: { level: 'offline', at: created.toISOString(), frozenMs: 0 },
    disks: [disk],
  });
  const reader = {
    virtualSize,
    extents: () => Promise.resolve(Extents.of(extents)),
    async *read() {
      for (const { length, content } of extents)
        yield await Promise.resolve(Buffer.alloc(length, content));
    },
    close: () => Promise.resolve(),
  };
  const found = await writer.addDisk(disk, reader, silent.begin('', 0));
  await writer.finish([{ ...disk, ...found }]);
  return Buffer.concat(written);
}

const perLine = 16;
const dumpLine = /^( {4})([0-9a-f]{8})( {2}.*)$/gm;
const jsonBlock = /(<!-- (about|manifest)\.json of the example -->\n)[^]*?(<!-- end -->)/g;

/** Returns the document with the dumps and the JSON of this bundle. What follows a line of a dump stays as it is. */
export function withExample(document: string, bundle: Buffer): string {
  return document
    .replaceAll(dumpLine, (_, indent: string, offset: string, rest: string) => {
      const line = dumped(bundle, parseInt(offset, 16));
      return `${indent}${line}${rest.slice(line.length - offset.length)}`;
    })
    .replaceAll(jsonBlock, (_, begin: string, name: string, end: string) => {
      return `${begin}\n${indented(jsonOf(bundle, `./${name}.json`))}\n\n${end}`;
    });
}

/** One line as `hexdump -C` prints it. */
function dumped(bundle: Buffer, offset: number): string {
  const bytes = bundle.subarray(offset, offset + perLine);
  if (bytes.length < perLine) throw new Error(`the example has no 16 bytes at ${offset}`);
  const hex = [0, perLine / 2].map((at) =>
    bytes.toString('hex', at, at + perLine / 2).replaceAll(/..(?=.)/g, '$& '),
  );
  const text = bytes.toString('latin1').replaceAll(/[^\x20-\x7e]/g, '.');
  return `${offset.toString(16).padStart(8, '0')}  ${hex.join('  ')}  |${text}|`;
}

/** The JSON of a member, whose header gives its size in octal. */
function jsonOf(bundle: Buffer, name: string): string {
  const header = bundle.indexOf(`${name}\0`);
  const size = parseInt(bundle.toString('latin1', header + 124, header + 135), 8);
  return bundle.toString('utf8', header + 512, header + 512 + size);
}

/** The same JSON, a field to a line. */
function indented(json: string): string {
  const fields = Object.entries(parseShape(dictionary(anything), json, (why) => new Error(why)));
  const lines = fields.map(([name, value]) => {
    const items = Array.isArray(value) ? value.map((item) => JSON.stringify(item)) : undefined;
    const text = items ? `[\n       ${items.join(',\n       ')}]` : JSON.stringify(value);
    return `     ${JSON.stringify(name)}: ${text}`;
  });
  return `    {\n${lines.join(',\n')}}`;
}
