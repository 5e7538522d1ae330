// Opens a disk image for reading by a server: a separate qemu-nbd serves it on a Unix socket in a private folder. Both are in the
// journal before they are made, and both are gone when the reader is closed.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiskReader } from '../read/disk-reader.ts';
import { explainedReader } from '../read/reader-with-reasons.ts';
import { openNbdReader } from '../read/nbd-reader.ts';
import { NotListeningError } from '../read/nbd-socket.ts';
import { CommandError, errorMessage, FailedError } from '../report/errors.ts';
import type { Run } from '../run/run.ts';
import type { ForwardedSocket, Service } from '../run/runner.ts';
import { startQemuNbd } from '../tools/qemu-nbd.ts';
import { ownPrefix } from '../run/own-prefix.ts';
import { removeFolder, stopProcess } from '../run/undo-kinds.ts';
import { ifLost, requireForwarding } from '../run/forwarded-socket.ts';
import type { BlockNode } from '../tools/qemu-nbd.ts';

export interface OpenableImage {
  readonly node: BlockNode;
  /** Bytes. */
  readonly virtualSize: number;
}

/** Short, because the path of a socket has 107 bytes at most. */
const socketFolder = '/tmp';
const startLimitMs = 60_000;
const pollMs = 3;
/** After this many refused connections we find out why. A server listens after 20 to 100 ms. */
const triesToRefuse = 50;
/** How long a server may take to end by itself after we disconnect. */
const endLimitMs = 5000;
/** How long to wait, after a failed read, for the server to end and say why. */
const lastWordsMs = 500;

/**
 * Serves an image and opens it.
 * @param label "disk 0 of VM 7".
 * @throws CommandError with qemu-nbd's own words when it cannot open the image.
 */
export async function serveImage(
  { node, virtualSize }: OpenableImage,
  label: string,
  run: Run,
): Promise<DiskReader> {
  const { runner, journal, log, signal } = run;
  const folder = `${socketFolder}/${ownPrefix}${randomBytes(8).toString('hex')}`;
  const socket = `${folder}/nbd`;
  const undoFolder = await journal.record(removeFolder.undo({ path: folder }), runner.target);
  await runner.run(
    // Fails if the name is taken, whatever has it. So nobody can have prepared the folder for us.
    { program: 'mkdir', args: ['-m', '0700', '--', folder] },
    { doing: `make the private folder ${folder}` },
  );
  const argument = `--socket=${socket}`;
  const undoProcess = await journal.record(
    stopProcess.undo({ program: 'qemu-nbd', argument }),
    runner.target,
  );
  const service = await startQemuNbd(runner, node, socket);
  const clean = async (): Promise<void> => {
    await endService(service);
    await undoProcess.done();
    const args = ['-rf', '--', folder];
    await runner.run({ program: 'rm', args }, { doing: `remove ${folder}` });
    await undoFolder.done();
  };
  try {
    const forwarded = await runner.forwardSocket(socket);
    const { path: socketPath } = forwarded;
    const connect = (): Promise<DiskReader> =>
      openNbdReader({ socketPath, exportName: '', label, log, signal, virtualSize });
    const refused = (): Promise<void> => requireForwarding(runner, socket);
    const reader = await whenListening(connect, service, label, refused);
    return withService(reader, { service, forwarded, label }, () =>
      // Only logged: the journal knows what is left, and the caller has a better error, or none.
      clean().catch((error: unknown) => log.debug(`${label}: ${errorMessage(error)}`)),
    );
  } catch (error) {
    await service.stop();
    await clean().catch((next: unknown) => log.debug(`${label}: ${errorMessage(next)}`));
    throw error;
  }
}

/**
 * Connects as soon as the server listens. `refused` rejects if we cannot connect although the socket exists on the
 * host: then the host does not allow forwarding, unless the server began to listen after the last try. So only the
 * second rejection is final.
 */
async function whenListening(
  connect: () => Promise<DiskReader>,
  service: Service,
  label: string,
  refused: () => Promise<void>,
): Promise<DiskReader> {
  const deadline = Date.now() + startLimitMs;
  let refusals = 0;
  for (let tries = 1; ; tries++) {
    try {
      return await connect();
    } catch (error) {
      if (!(error instanceof NotListeningError) || Date.now() > deadline) throw error;
    }
    if (tries % triesToRefuse === 0) {
      await refused().catch((error: unknown) => {
        if (++refusals > 1) throw error;
      });
    }
    const end = await endedWithin(service, pollMs);
    if (end) {
      const why = end.stderr || `it ended with status ${end.status ?? 'unknown'}`;
      throw new CommandError(`cannot open ${label}: qemu-nbd: ${why}`, {
        command: 'qemu-nbd',
        ...end,
      });
    }
  }
}

/** Returns the reader with the server's last words in its errors. Its `close` also ends the server. */
function withService(
  reader: DiskReader,
  {
    service,
    forwarded,
    label,
  }: { readonly service: Service; readonly forwarded: ForwardedSocket; readonly label: string },
  clean: () => Promise<void>,
): DiskReader {
  const explained = async (failure: unknown): Promise<unknown> => {
    const error = await ifLost(failure, forwarded, label);
    const end = error instanceof FailedError ? await endedWithin(service, lastWordsMs) : undefined;
    // qemu-nbd exits 0 after its connection closes, so the read error says everything.
    if (!end || end.status === 0) return error;
    const why = end.stderr || `it ended with status ${end.status ?? 'unknown'}`;
    const text = `cannot read ${label}: qemu-nbd ended early: ${why}`;
    return new CommandError(text, { command: 'qemu-nbd', ...end, cause: error });
  };
  let closed: Promise<void> | undefined;
  return {
    ...explainedReader(reader, explained),
    close: () => (closed ??= reader.close().then(clean)),
  };
}

type End = Awaited<Service['ended']>;

async function endedWithin(service: Service, ms: number): Promise<End | undefined> {
  const timer = new AbortController();
  const late = sleep(ms, undefined, { signal: timer.signal }).catch(() => undefined);
  try {
    return await Promise.race([service.ended, late]);
  } finally {
    timer.abort();
  }
}

/** A server without clients ends by itself; if it does not, it is stopped. */
async function endService(service: Service): Promise<void> {
  if (!(await endedWithin(service, endLimitMs))) await service.stop();
}
