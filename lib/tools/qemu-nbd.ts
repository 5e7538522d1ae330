// qemu-nbd: serves one disk image, read-only, on a Unix socket. Every layer is spelled out as a block
// device tree, so QEMU never probes a format and never follows a name that stands in a header.
// Options: qemu-nbd(8); the tree: QEMU QMP reference, BlockdevOptions.
import { FailedError } from '../report/errors.ts';
import type { Runner, Service } from '../run/runner.ts';

/** One layer of a disk image; a `device` is a block device instead of a file. */
export type BlockNode =
  | { readonly driver: 'raw'; readonly path: string; readonly device?: true }
  | { readonly driver: 'qcow2'; readonly path: string; readonly backing: BlockNode | null };

/** sun_path has 108 bytes, the last of them NUL: unix(7). */
const maxSocketPath = 107;

/**
 * qemu-nbd takes a buffer for each request and gives it back. glibc returns such a buffer to
 * the kernel at once, and every page of the next one is a fault: 2.6 CPU s for 2 GiB instead of 1.3.
 */
const keepBuffers = {
  // One arena for all its threads, or each keeps buffers of its own.
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: String(32 * 1024 * 1024),
  MALLOC_TRIM_THRESHOLD_: String(32 * 1024 * 1024),
};

/**
 * Starts a server for one connection: it ends by itself when that ends, also when this process was
 * killed. The image is served under the empty export name. Whether it listens yet, only a
 * connection tells.
 */
export async function startQemuNbd(
  runner: Runner,
  image: BlockNode,
  socketPath: string,
): Promise<Service> {
  if (Buffer.byteLength(socketPath) > maxSocketPath) {
    throw new FailedError(`the path ${socketPath} is too long for a socket`);
  }
  return await runner.start({
    program: 'qemu-nbd',
    args: [
      '--read-only',
      '--shared=1',
      `--socket=${socketPath}`,
      // The page cache: works on every file system, and a dump reads what was just written.
      '--cache=writeback',
      '--detect-zeroes=off',
      '--discard=ignore',
      `json:${JSON.stringify(blockdev(image))}`,
    ],
    env: keepBuffers,
  });
}

function blockdev(node: BlockNode): object {
  const { driver } = node;
  const file = fileOf(node);
  const layer = { driver, 'read-only': true, file };
  if (node.driver === 'raw') return layer;
  return { ...layer, backing: node.backing && blockdev(node.backing) };
}

function fileOf(node: BlockNode): object {
  if (node.driver === 'raw' && node.device) {
    // Past the page cache, which may hold what a volume was before another host wrote to it.
    return { driver: 'host_device', filename: node.path, cache: { direct: true } };
  }
  return { driver: 'file', filename: node.path };
}
