// Observes a backup job from the side that reads its disks: that it is not about to be ended, and that somebody watches
// the free space for it.
import { posix } from 'node:path';
import { FailedError } from '../../report/errors.ts';
import { processesWith } from '../../run/processes.ts';
import type { Run } from '../../run/run.ts';
import type { Service } from '../../run/runner.ts';
import { startSpaceWatch, type WatchedJob } from './space-watch.ts';

/** How often a process that has ended is started anew, for one disk. */
const maxRestarts = 5;

const ended = 10;
const unwatched = 11;

// $1 is the job's description, the rest are the process that watches the space, and maybe short-lived children of it.
// proc(5): a process that nobody waits for stays as Z. It removes the description before it ends by itself.
const observeScript = `
description=$1
shift
is_watched() {
  for pid in "$@"; do
    { read -r _ name state _ <"/proc/$pid/stat"; } 2>/dev/null || continue
    case $name$state in *Z) ;; '(sh)'* | '(setsid)'*) return 0 ;; esac
  done
  return 1
}
looks=0
while [ -e "$description" ]; do
  kill -0 "$PPID" 2>/dev/null || exit 1
  # Once a second, because sh reads byte by byte.
  if [ $((looks % 10)) = 0 ] && ! is_watched "$@" && [ -e "$description" ]; then exit ${unwatched}; fi
  looks=$((looks + 1))
  sleep 0.1
done
exit ${ended}`;

export interface JobObserver {
  stop(): Promise<void>;
}

/**
 * Observes a job until `stop`. If nobody watches the free space any more, that is started anew.
 * @param label the disk that is read, for messages
 * @param onEnd is told, once, why the disk must not be read any longer
 */
export async function observeJob(
  watched: WatchedJob,
  label: string,
  onEnd: (why: unknown) => void,
  { runner, log }: Pick<Run, 'runner' | 'log'>,
): Promise<JobObserver> {
  const { description, name } = watched;
  const start = async (): Promise<Service> => {
    const pids = (await processesWith(runner, ['setsid', 'sh'], name)).map(String);
    const args = ['-c', observeScript, 'sh', description, ...pids];
    return await runner.start({ program: 'sh', args });
  };
  let service = await start();
  let stopped = false;
  const isStopped = (): boolean => stopped;
  const observing = (async () => {
    for (let restarts = 0; ; restarts++) {
      const { status } = await service.ended;
      if (isStopped()) return;
      if (status === ended) throw new FailedError(`${label} is not served any more`);
      // Otherwise we are gone, or the connection is, which the reader notices.
      if (status !== unwatched) return;
      await watchAnew(restarts);
      service = await start();
      if (isStopped()) await service.stop();
    }
  })().catch(onEnd);

  async function watchAnew(restarts: number): Promise<void> {
    const gone = `the process that watches the free space of ${posix.dirname(description)} (${name}) has ended`;
    if (restarts === maxRestarts) {
      throw new FailedError(
        `${gone} ${restarts + 1} times while ${label} was being read. Without it the guest could get write errors when the space runs out, so the export was given up. Find out who ends it, then export the VM again`,
      );
    }
    log.warn(`${gone}: somebody has killed it; it is started anew`);
    await startSpaceWatch(watched, runner);
  }

  return {
    async stop() {
      stopped = true;
      await service.stop();
      await observing;
    },
  };
}
