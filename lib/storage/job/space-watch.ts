// Watches the free space where QEMU keeps what the guest overwrites. When it gets low, our backup job is ended, before
// QEMU runs out of space: then the guest's own writes would fail. A small separate shell process does this, which needs
// nothing from us, since the job goes on when we are killed, and between the processes of a backup by OpenNebula.
import { posix } from 'node:path';
import type { Run } from '../../run/run.ts';
import type { Runner } from '../../run/runner.ts';
import { virshArgs, type Domain } from '../../tools/virsh.ts';
import type { ScratchRoom } from './scratch-room.ts';
import { stopSpaceWatch } from './undo.ts';

const MiB = 1024 * 1024;
/** As much as a guest may overwrite before the job has ended: half a second of a fast disk. */
const most = 512 * MiB;
const least = 16 * MiB;

/**
 * The free space, in bytes, below which the job is ended. Half of what was free at most, so that a small file system can
 * be used at all; less if all disks together fit into it, since then only others can fill it.
 */
export function lowWaterMark({ freeBytes, diskBytes }: ScratchRoom): number {
  const beyondUs = freeBytes > diskBytes ? Math.max(freeBytes - diskBytes, least) : most;
  return Math.floor(Math.min(most, freeBytes / 2, beyondUs));
}

// The script watches as long as the job's description is there, which is removed when the job is over. If the space is
// low, it removes the description itself, so that we close our connection and can tell why the job has ended. While
// somebody is connected and does not read, QEMU hangs, with its guest, when it has to stop serving. So the job is ended
// only when nobody is (/proc/net/unix: a connected socket has the state 03, and its server's path). A reader that does
// not close, because it was stopped or its network hangs, is killed after two seconds. QEMU stops a guest that ran out of
// space, sometimes only after the job has ended; it repeats the write that failed when the guest is resumed. So the script
// looks for that a little longer, and its undo waits for it.
// $0 is the name by which the script is found, $1 the folder, $2 the description, $3 the low-water mark in bytes, $4 the
// socket of our job, $5 the domain; the rest is virsh with its options.
const watchScript = `
folder=$1 description=$2 low=$3 socket=$4 domain=$5
shift 5
is_low() {
  set -- $(stat -f -c '%a %S' -- "$folder")
  [ $# = 2 ] && [ $(($1 * $2)) -lt "$low" ]
}
is_connected() { grep ' 03 ' /proc/net/unix | grep -qF " $socket"; }
kill_readers() {
  ss -Hxp | while read -r kind state in out path port star peer users; do
    [ "$path" != "$socket" ] || echo "$peer"
  done | while read -r reader; do
    ss -Hxp | while read -r kind state in out path port star peer users; do
      [ "$port" = "$reader" ] || continue
      pid=\${users#*pid=}
      kill -KILL "\${pid%%,*}"
    done
  done
}
has_our_job() { "$@" backup-dumpxml "$domain" | grep -qF "'$socket'"; }
until is_low && has_our_job "$@"; do
  [ -e "$description" ] || exit
  sleep 0.2
done
rm -f -- "$description"
tries=0
while is_connected; do
  tries=$((tries + 1))
  [ $((tries % 20)) != 0 ] || kill_readers
  sleep 0.1
done
for try in $(seq 100); do
  if has_our_job "$@"; then
    "$@" domjobabort "$domain"
  elif "$@" domstate "$domain"; then
    break
  fi
  sleep 0.1
done
for try in $(seq 8); do
  case $("$@" domstate --reason "$domain") in
    'paused (I/O error)'*) "$@" resume "$domain" ;;
  esac
  sleep 0.25
done`;

// A session of its own, so that neither a signal to our process group nor the end of an ssh connection reaches it.
const startScript = `
command -v setsid >/dev/null || { echo 'setsid is not installed' >&2; exit 127; }
exec setsid -f sh -c "$@" </dev/null >/dev/null 2>&1`;

/** What is to be watched. The paths are on the machine of the disks. */
export interface WatchedJob {
  /** A word in the command line of the process that watches. */
  readonly name: string;
  readonly domain: Domain;
  readonly socket: string;
  /** In the folder of the scratch files. */
  readonly description: string;
  /** Bytes. */
  readonly lowWaterMark: number;
}

/** Starts to watch, until the description is removed; the end is in the journal before. */
export async function watchSpace(watched: WatchedJob, { journal, runner }: Run): Promise<void> {
  const { name, description } = watched;
  await journal.record(stopSpaceWatch.undo({ name, description }), runner.target);
  await startSpaceWatch(watched, runner);
}

/** The same, for what the journal knows already. */
export async function startSpaceWatch(
  { name, domain, socket, description, lowWaterMark: low }: WatchedJob,
  runner: Runner,
): Promise<void> {
  const folder = posix.dirname(description);
  const about = [folder, description, String(low), socket, domain.name];
  const virsh = ['virsh', ...virshArgs(domain.uri)];
  await runner.run(
    { program: 'sh', args: ['-c', startScript, 'sh', watchScript, name, ...about, ...virsh] },
    { doing: `watch the free space of ${folder}` },
  );
}
