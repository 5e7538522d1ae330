// What runs at the far end of an ssh connection. docs/remote.md tells why it is as it is.
//
// sshd gives its command line to the user's login shell, which can be anything: sh, zsh, fish, csh. So the
// line is always the same, and its characters mean the same to all of them. Program and arguments follow
// as the first line on stdin, quoted for a POSIX shell; `read` takes no byte more than that line.
import { quoteOnOneLine } from './quote.ts';
import type { Command } from './runner.ts';

/** The command line that every connection and every command of ours has on a host. */
export const loginLine = `exec /bin/sh -c 'LC_ALL=C; IFS= read -r line && eval "$line"'`;

/**
 * What every script begins with: what a profile has printed before this on stdout and stderr is dropped.
 * sshd has made its child the leader of a session and process group. That is us, or a shell above us, where
 * a key is bound to a command. /proc/<pid>/stat, after the name in parentheses: state, parent, group, session.
 */
const begin = `
split() { parent_now=$2 group_now=$3 session_now=$4; }
stat_of() { read -r fields <"/proc/$1/stat" && split \${fields##*) }; }
stat_of "$$" || exit 1
group=$group_now leader=$session_now
stat_of "$leader" || exit 1
sshd=$parent_now
connected() { stat_of "$leader" && [ "$parent_now" = "$sshd" ]; }
printf '\\n%s:%s\\n' "$nonce" "$group" >&2 && printf '\\n%s:%s\\n' "$nonce" "$group" || exit 1
`;

// Runs "$@" as a child, and tells its status on stderr, so that ssh's own status 255 is not taken for it. sshd
// sends no signal when a connection ends: it shows in sshd's process for the connection, which is gone then. We
// end the whole group (or, for a program that has its own way to end, only ourselves, its parent).
const commandScript = `
nonce=$2 end=$3
shift 3
while [ "$1" != -- ]; do
  export "$1"
  shift
done
shift
for folder in /usr/sbin /sbin; do
  case :$PATH: in
    *":$folder:"*) ;;
    *) PATH=\${PATH:-/usr/bin:/bin}:$folder ;;
  esac
done
export PATH LANG=C LC_ALL=C
if ! command -v "$1" >/dev/null 2>&1; then
  printf '\\n%s=missing\\n' "$nonce" >&2
  exit
fi
${begin}
trap : HUP INT TERM
# When a signal ends the program, the shell has something to say, which is not for our stderr.
exec 3>&2 2>/dev/null
(
  trap '' HUP INT TERM
  while connected; do sleep 1; done
  [ "$end" = parent ] || kill -s KILL -- "-$group"
  kill -s KILL "$$"
) </dev/null >/dev/null 3>&- &
watch=$!
(exec env "$@" 2>&3 3>&-)
status=$?
kill -s KILL "$watch"
printf '\\n%s=%s\\n' "$nonce" "$status" >&3
`;

// Keeps a connection: as long as a byte comes every now and then. When none does, stdin ends, or SIGTERM comes, our
// program is gone, cannot be reached, or has another connection, and sshd's process for this one is ended, with all
// that watches it. A shell hears a signal while it waits, not while a command runs.
const keeperScript = `
nonce=$1 limit=$2
${begin}
trap : TERM
exec 3<&0
beat() { timeout "$limit" head -c 1 <&3 | grep -q b; }
while beat & wait "$!"; do :; done
connected && kill -s TERM "$sshd"
for tenth in 0 1 2 3 4 5 6 7 8 9; do
  connected || exit
  sleep 0.1
done
kill -s KILL "$sshd"
`;

/** What tells a program that the connection to it is gone. */
export type EndOfConnection =
  /** It is killed, with all its children. */
  | 'kill'
  /** Its parent is killed: it notices, and ends by itself. */
  | 'parent';

/**
 * The line on stdin that starts a command; the program's own stdin follows.
 * @param nonce unguessable, so that nothing else on stdout and stderr is taken for ours.
 */
export function commandLine(nonce: string, end: EndOfConnection, command: Command): string {
  const { program, args, env = {} } = command;
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const words = [commandScript, nonce, end, ...variables, '--', program, ...args];
  return `${quoteOnOneLine(words)}; eval "$1"\n`;
}

/**
 * The line on stdin of the keeper of a connection; a `b` has to follow every `limitSeconds` at least.
 * @param name what the keeper, an `sh`, is found by in its command line.
 */
export function keeperLine(name: string, nonce: string, limitSeconds: number): string {
  const words = ['/bin/sh', '-c', keeperScript, name, nonce, String(limitSeconds)];
  return `${quoteOnOneLine(words)}; exec "$@"\n`;
}

export const heartbeat = 'b';

/** Where output begins that is a program's own, and its process group on the host; undefined before that. */
export function findStart(
  output: Buffer,
  nonce: string,
): { readonly group: number; readonly end: number } | undefined {
  const at = output.indexOf(`\n${nonce}:`);
  const end = at < 0 ? -1 : output.indexOf('\n', at + 1);
  if (end < 0) return undefined;
  return { group: Number(output.toString('latin1', at + nonce.length + 2, end)), end: end + 1 };
}

/** A program's stderr, and the status it ended with: a number, or that there is no such program. */
export function parseStderr(
  stderr: Buffer,
  nonce: string,
): { readonly text: string; readonly status: number | 'missing' | undefined } {
  const from = findStart(stderr, nonce)?.end ?? 0;
  const text = stderr.toString('utf8', from);
  const [whole = '', status] = new RegExp(`\\n${nonce}=(missing|\\d+)\\n`).exec(text) ?? [];
  if (status === undefined) return { text, status };
  return { text: text.replace(whole, ''), status: status === 'missing' ? status : Number(status) };
}
