// What runs at the far end of an ssh connection. docs/remote.md gives the reasons.
//
// sshd passes its command line to the user's login shell, which can be any: sh, zsh, fish, csh. So the line is
// always the same, and its characters mean the same to all of them. The program and its arguments follow as
// the first line on stdin, quoted for a POSIX shell; `read` reads not a byte more than that line.
import { quoteOnOneLine } from './quote.ts';
import type { Command } from './runner.ts';

/** The command line of all our connections and commands on a host. */
export const loginLine = `exec /bin/sh -c 'LC_ALL=C; IFS= read -r line && eval "$line"'`;

/**
 * What every script begins with. Whatever a profile has printed before this on stdout and stderr is dropped.
 * sshd makes its child the leader of a session and a process group. That is this shell, or one above it where
 * the key has a forced command. /proc/<pid>/stat has, after the name in parentheses: state, parent, group, session.
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

// Runs "$@" as a child, and prints its status on stderr, so that ssh's own status 255 is not taken for the program's.
// sshd sends no signal when a connection ends, but its process for the connection is gone then. This script then kills
// its whole group; or only itself, the parent, when the program notices that and ends by itself.
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
# When a signal ends the program, the shell prints a message, which must not reach stderr.
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

// Keeps a connection as long as heartbeats come. When they stop, when stdin ends, or on SIGTERM, our program is gone,
// cannot be reached, or has made another connection: sshd's process for this one is then ended, and with it everything
// that watches it. A shell handles a signal while it waits, but not while it runs a command.
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

/** How a program learns that its connection is gone. */
export type EndOfConnection =
  /** It is killed, with all its children. */
  | 'kill'
  /** Its parent is killed: the program notices, and ends by itself. */
  | 'parent';

/**
 * The line on stdin that starts a command; the program's own stdin follows.
 * @param nonce unguessable, so that no other output is taken for that of the script.
 */
export function commandLine(nonce: string, end: EndOfConnection, command: Command): string {
  const { program, args, env = {} } = command;
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const words = [commandScript, nonce, end, ...variables, '--', program, ...args];
  return `${quoteOnOneLine(words)}; eval "$1"\n`;
}

/**
 * The line on stdin that starts the keeper of a connection; a heartbeat must follow at least every `limitSeconds`.
 * @param name by which the keeper, an `sh`, is found: it is in its command line.
 */
export function keeperLine(name: string, nonce: string, limitSeconds: number): string {
  const words = ['/bin/sh', '-c', keeperScript, name, nonce, String(limitSeconds)];
  return `${quoteOnOneLine(words)}; exec "$@"\n`;
}

export const heartbeat = 'b';

/** Where the program's own output begins, and the program's process group; undefined before it has begun. */
export function findStart(
  output: Buffer,
  nonce: string,
): { readonly group: number; readonly end: number } | undefined {
  const at = output.indexOf(`\n${nonce}:`);
  const end = at < 0 ? -1 : output.indexOf('\n', at + 1);
  if (end < 0) return undefined;
  return { group: Number(output.toString('latin1', at + nonce.length + 2, end)), end: end + 1 };
}

/** The program's own stderr, and its exit status; `missing` when there is no such program. */
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
