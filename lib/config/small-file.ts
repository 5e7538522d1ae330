// Reads files that a user names: settings and credentials. The name may be that of anything, even of a device without
// an end, so the size is limited.
import { close, open, read } from 'node:fs';
import { promisify } from 'node:util';

/** Bytes; far more than any such file has. */
const most = 1024 * 1024;

/**
 * Returns the text of a file (UTF-8). It does not use node:fs/promises, which loads slowly: a hook that has nothing to
 * do needs it for nothing else.
 * @throws Node's errors; an Error when it has more than 1 MiB
 */
export async function readSmallFile(path: string): Promise<string> {
  const file = await promisify(open)(path, 'r');
  try {
    const bytes = Buffer.alloc(most + 1);
    let length = 0;
    while (length <= most) {
      const { bytesRead } = await promisify(read)(file, bytes, length, bytes.length - length, null);
      if (bytesRead === 0) return bytes.toString('utf8', 0, length);
      length += bytesRead;
    }
    throw new Error(`${path} has more than ${most} bytes`);
  } finally {
    await promisify(close)(file);
  }
}
