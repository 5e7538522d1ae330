// Follows a disk image through its backing files, layer by layer, and returns how to open it. Every file that a
// header names is checked before anybody opens it: it must be a regular file under the datastores, in a declared
// format.
import { posix } from 'node:path';
import type { DiskFormat } from '../../bundle/format/manifest.ts';
import { FailedError, UnsupportedError } from '../../report/errors.ts';
import type { Log } from '../../report/log.ts';
import type { Runner } from '../../run/runner.ts';
import { fileHead, realPath, realPaths, regularFileSize } from '../../tools/file-facts.ts';
import type { BlockNode } from '../../tools/qemu-nbd.ts';
import { requireWhole } from '../../qcow2/image-extent.ts';
import { headerBytes, readImageLayer, type ImageLayer } from '../../qcow2/image-layer.ts';
import type { DiskLayout } from '../../bundle/format/manifest.ts';

/** OpenNebula makes one layer per disk snapshot; QEMU becomes slow long before this. */
const maxLayers = 256;
const MiB = 1024 * 1024;

export interface ImageRequest {
  /** The disk's file; may be a link. */
  readonly path: string;
  readonly format: DiskFormat;
  /** "disk 0 of VM 7". */
  readonly label: string;
  /** Every layer must be under one of these folders, which may be links themselves. */
  readonly folders: readonly string[];
  /** The disk's SIZE, which OpenNebula rounds up to MiB. A raw file must not be shorter. */
  readonly sizeMb: number | undefined;
  /**
   * The image from which the disk was made: its declared format, for headers that do not declare it, and its size.
   */
  readonly source:
    | { readonly path: string; readonly format: DiskFormat; readonly sizeMb: number | undefined }
    | undefined;
}

export interface Image {
  readonly node: BlockNode;
  /** Bytes. */
  readonly virtualSize: number;
  /** Of the top layer, in bytes; undefined for raw. */
  readonly clusterSize: number | undefined;
}

/** The top layer of a disk image that QEMU has open for writing. */
export interface ImageTop {
  /** With all links resolved. */
  readonly path: string;
  /** Bytes. */
  readonly virtualSize: number;
  readonly layout: DiskLayout;
}

interface Layer {
  readonly path: string;
  readonly format: DiskFormat;
  /** As in ImageRequest. */
  readonly sizeMb: number | undefined;
  /** In words, for messages. */
  readonly what: string;
}

/**
 * Looks at every layer of a disk image; changes nothing.
 * @throws CommandError when a file is missing or unreadable, UnsupportedError for a layer that must
 *   not be opened, FailedError for one that is damaged or was cut short.
 */
export async function inspectImage(request: ImageRequest, runner: Runner): Promise<Image> {
  const { path, format, label, sizeMb } = request;
  const what = `${label} (${path})`;
  const top = { path: await realPath(runner, path, what), format, what, sizeMb };
  const folders = await realPaths(runner, request.folders);
  return await inspectLayer(top, [path], { ...request, folders }, runner, []);
}

/**
 * Looks at an image that QEMU has open for writing. QEMU has already opened all its layers, so a layer that we would
 * refuse to open is not an error here: this layer and those below it are not checked, and a warning says so.
 * @throws as `inspectImage`.
 */
export async function inspectTop(
  request: ImageRequest,
  runner: Runner,
  log: Log,
): Promise<ImageTop> {
  const { format, label, sizeMb } = request;
  const what = `${label} (${request.path})`;
  const path = await realPath(runner, request.path, what);
  const allowed = { ...request, folders: await realPaths(runner, request.folders) };
  requireAllowed({ path, format, what, sizeMb }, allowed, []);
  const size = await regularFileSize(runner, path, what);
  if (format === 'raw') {
    requireRawSize(size, sizeMb, what);
    return { path, virtualSize: size, layout: { format } };
  }
  const file = await readLayer(runner, path, what);
  try {
    await inspectBelow(file, { path, what }, [request.path], allowed, runner, []);
  } catch (error) {
    if (!(error instanceof UnsupportedError)) throw error;
    log.warn(`the layers below ${what} cannot be checked: ${error.message}`);
  }
  const { virtualSize, header } = file;
  return { path, virtualSize, layout: { format, clusterSize: header.clusterSize } };
}

/** `names` are the paths by which this layer is opened. The name of its backing file is relative to them. */
async function inspectLayer(
  layer: Layer,
  names: readonly string[],
  request: ImageRequest,
  runner: Runner,
  above: readonly string[],
): Promise<Image> {
  const { path, what } = layer;
  requireAllowed(layer, request, above);
  const size = await regularFileSize(runner, path, what);
  if (layer.format === 'raw') {
    requireRawSize(size, layer.sizeMb, what);
    // The content does not matter, only whether the file can be read.
    await fileHead(runner, path, 1, what);
    return { node: { driver: 'raw', path }, virtualSize: size, clusterSize: undefined };
  }
  const file = await readLayer(runner, path, what);
  const below = await inspectBelow(file, layer, names, request, runner, above);
  const { virtualSize, header } = file;
  const backing = below?.node ?? null;
  return { node: { driver: 'qcow2', path, backing }, virtualSize, clusterSize: header.clusterSize };
}

/**
 * Reads the header of a qcow2 layer, and checks that the file has all its data.
 * @throws FailedError when the file was cut short
 */
async function readLayer(runner: Runner, path: string, what: string): Promise<ImageLayer> {
  const head = await fileHead(runner, path, headerBytes, `the header of ${what}`);
  const layer = readImageLayer(head, what);
  await requireWhole(layer.header, path, what, runner);
  return layer;
}

/** Inspects the layers below this one; returns undefined if there are none. */
async function inspectBelow(
  { backing }: ImageLayer,
  { path, what }: Pick<Layer, 'path' | 'what'>,
  names: readonly string[],
  request: ImageRequest,
  runner: Runner,
  above: readonly string[],
): Promise<Image | undefined> {
  if (!backing) return undefined;
  const found = await findBacking(backing.name, [...names, path], what, runner);
  const { source, label } = request;
  const isSource = source && (await realPaths(runner, [source.path]))[0] === found.path;
  const below: Layer = {
    path: found.path,
    format: backingFormat(backing.format, isSource ? source.format : undefined, found.path, what),
    what: `the backing file ${found.path} of ${label}`,
    sizeMb: isSource ? source.sizeMb : undefined,
  };
  return await inspectLayer(below, [found.name], request, runner, [...above, path]);
}

/** OpenNebula rounds sizes up to MiB (fs_size in datastore_mad/remotes/libfs.sh, 6.4.0 to 7.4.0). */
function requireRawSize(size: number, sizeMb: number | undefined, what: string): void {
  if (sizeMb === undefined || size > (sizeMb - 1) * MiB) return;
  throw new FailedError(
    `${what} was cut short: the file has ${size} bytes, but its SIZE in OpenNebula is ${sizeMb} MiB`,
  );
}

function requireAllowed(layer: Layer, request: ImageRequest, above: readonly string[]): void {
  const { path, what } = layer;
  const { folders } = request;
  if (path.startsWith('/dev/')) {
    throw new UnsupportedError(
      `${what} leads to the device ${path}; a disk of this storage must be a file`,
    );
  }
  if (!folders.some((folder) => path.startsWith(folder.endsWith('/') ? folder : `${folder}/`))) {
    throw new UnsupportedError(
      `${what} lies at ${path}, which is outside of ${folders.join(', ') || 'every datastore'}; a folder that may hold images is allowed by ALLOWED_BACKING_DIRS in the configuration`,
    );
  }
  if (above.includes(path)) throw new FailedError(`${what} is its own backing file`);
  if (above.length >= maxLayers) {
    throw new UnsupportedError(`${request.label} has more than ${maxLayers} layers`);
  }
}

/**
 * Returns the file that a backing name means. QEMU resolves a relative name against the path by which it opened the
 * layer above. OpenNebula opens disks by their link or (from 6.8) by the file to which it leads, so both paths must
 * give the same backing file.
 */
async function findBacking(
  name: string,
  names: readonly string[],
  of: string,
  runner: Runner,
): Promise<{ readonly path: string; readonly name: string }> {
  // QEMU treats the text before a colon as a protocol, unless there is a slash before the colon.
  if (/^[^/]*:/.test(name)) {
    throw new UnsupportedError(`${of} has the backing file ${name}, which is refused: not a file`);
  }
  const candidates = new Set(
    names.map((one) => (name.startsWith('/') ? name : `${posix.dirname(one)}/${name}`)),
  );
  const found = new Map<string, string>();
  for (const candidate of candidates) {
    const [path] = await realPaths(runner, [candidate]);
    if (path !== undefined && !found.has(path)) found.set(path, candidate);
  }
  const [first, second] = found;
  if (!first)
    throw new FailedError(
      `${of} has the backing file ${name}, which does not exist or cannot be reached`,
    );
  if (second) {
    throw new UnsupportedError(
      `${of} has the backing file ${name}, which can be ${first[0]} or ${second[0]}`,
    );
  }
  return { path: first[0], name: first[1] };
}

/**
 * Returns the format that the header declares, or else, if the file is the disk's image, the format that OpenNebula
 * declares for it.
 */
function backingFormat(
  declared: string | undefined,
  known: DiskFormat | undefined,
  path: string,
  of: string,
): DiskFormat {
  if (declared === 'raw' || declared === 'qcow2') return declared;
  if (declared !== undefined) {
    throw new UnsupportedError(
      `${of} has a backing file in the format ${declared}; only raw and qcow2 can be handled`,
    );
  }
  if (known) return known;
  throw new UnsupportedError(
    `${of} does not say which format its backing file ${path} has, and it is not guessed; while the VM is powered off, write it down with: qemu-img rebase -u -f qcow2 -F <raw or qcow2> -b <backing file> <disk file>`,
  );
}
