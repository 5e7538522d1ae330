// A bundle in a file on another machine, read at any place through one ssh session: a script there takes
// requests and answers with bytes. Blocks are kept for a while and read ahead, since a network has far
// longer ways than a disk.
import { FailedError, UsageError } from '../../report/errors.ts';
import type { Runner } from '../../run/runner.ts';
import { startReading } from './host-file.ts';
import type { BundleSource } from '../read/bundle.ts';
import { ByteReader } from '../read/byte-reader.ts';

const blockSize = 1024 * 1024;
/** Blocks asked for beyond the one that is needed, where reading goes on from one to the next. */
const ahead = 8;
/** Several frames are read side by side, each with its blocks ahead. */
const mostBlocks = 64;

/**
 * Opens a file for reading on the machine of `runner`.
 * @param name as messages call it: host:path.
 * @throws UsageError when there is no such file or it is no regular file; CommandError; ConnectionError
 */
export async function openSshSource(
  runner: Runner,
  path: string,
  name: string,
): Promise<BundleSource> {
  const service = await startReading(runner, path);
  service.stdin.on('error', () => undefined);
  const answers = new ByteReader(service.stdout);
  const blocks = new Map<number, Promise<Buffer>>();
  let turn: Promise<unknown> = Promise.resolve();

  const lost = async (): Promise<FailedError> => {
    const { stderr } = await service.ended;
    return new FailedError(`cannot read bundle ${name}: ${stderr || 'the reader there has ended'}`);
  };
  /** The next bytes of the answers, which come in the order of the requests. */
  const take = <T>(work: () => Promise<T>): Promise<T> => {
    const result = turn.then(work).catch(async () => {
      throw await lost();
    });
    turn = result.catch(() => undefined);
    return result;
  };
  const { size, modified } = await take(async () => parseHead(await line(answers))).catch(
    async (error: unknown) => {
      const { stderr } = await service.ended;
      if (/^(no such file|it is not a regular file)$/.test(stderr)) {
        throw new UsageError(`cannot open bundle ${name}: ${stderr}`, { cause: error });
      }
      throw error;
    },
  );

  function block(index: number): Promise<Buffer> {
    const known = blocks.get(index);
    // Used just now: the last to be forgotten.
    if (known) blocks.delete(index);
    const found = known ?? request(index);
    blocks.set(index, found);
    const [oldest] = blocks.keys();
    if (blocks.size > mostBlocks && oldest !== undefined) blocks.delete(oldest);
    return found;
  }

  function request(index: number): Promise<Buffer> {
    const offset = index * blockSize;
    const length = Math.min(blockSize, size - offset);
    service.stdin.write(`${offset} ${length}\n`);
    const bytes = take(() => answers.take(length));
    bytes.catch(() => undefined);
    return bytes;
  }

  return {
    name,
    size,
    modified,
    async read(offset, length) {
      const end = Math.min(offset + length, size);
      if (end <= offset) return Buffer.alloc(0);
      const first = Math.floor(offset / blockSize);
      const last = Math.floor((end - 1) / blockSize);
      const goesOn = blocks.has(first - 1) || last > first;
      const beyond = goesOn ? Math.min(last + ahead, Math.floor((size - 1) / blockSize)) : last;
      const wanted: Promise<Buffer>[] = [];
      for (let index = first; index <= beyond; index++) {
        const one = block(index);
        if (index <= last) wanted.push(one);
      }
      const bytes = Buffer.concat(await Promise.all(wanted));
      return bytes.subarray(offset - first * blockSize, end - first * blockSize);
    },
    async close() {
      service.stdin.end();
      await service.stop();
    },
  };
}

async function line(answers: ByteReader): Promise<string> {
  let text = '';
  while (!text.endsWith('\n')) text += (await answers.take(1)).toString('latin1');
  return text;
}

/** Size in bytes and time in epoch seconds, as stat prints them. */
function parseHead(text: string): { readonly size: number; readonly modified: Date } {
  const [, size, seconds] = /^(\d{1,15}) (\d{1,12})\n$/.exec(text) ?? [];
  if (size === undefined) throw new Error(`unexpected answer ${text}`);
  return { size: Number(size), modified: new Date(Number(seconds) * 1000) };
}
