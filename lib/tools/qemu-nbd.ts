// qemu-nbd: serves one disk image, read-only, on a Unix socket. Every layer is given as a node of a block
// device tree, so QEMU never probes a format and never follows a name in a header.
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
 * qemu-nbd allocates and frees a buffer for each request. By default glibc returns such a buffer to the kernel at
 * once, and every page of the next one costs a page fault: 2.6 CPU s for 2 GiB instead of 1.3.
 */
const keepBuffers = {
  // One arena for all threads; otherwise each of them keeps its own buffers.
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: String(32 * 1024 * 1024),
  MALLOC_TRIM_THRESHOLD_: String(32 * 1024 * 1024),
};

/**
 * Starts a server for one connection. It exits when that connection ends, even if this process was killed. The
 * image is served under the empty export name. Only a connection shows whether the server listens yet.
 * @throws FailedError when the path is too long for a socket; CommandError when it cannot be started
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
      // With the page cache, which works on every file system, and may hold what was just written.
      '--cache=writeback',
      '--detect-zeroes=off',
      '--discard=ignore',
      imageArgument(image),
    ],
    env: keepBuffers,
  });
}

/** How QEMU's programs are told to open an image, without probing anything. */
export function imageArgument(image: BlockNode): string {
  return `json:${JSON.stringify(blockdev(image))}`;
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
    // Without the page cache, which may be out of date: another host may have written to the volume.
    return { driver: 'host_device', filename: node.path, cache: { direct: true } };
  }
  return { driver: 'file', filename: node.path };
}
