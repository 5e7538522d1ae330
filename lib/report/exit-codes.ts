// Every exit code: the one table from which the errors take theirs, and from which `--help`, the man pages and
// docs/errors.md are made. A failure has a word beside its message, for programs; the row in which the word is
// decides with which code the program ends. Words are never renamed.

export interface ExitCode {
  readonly code: number;
  /** The class of lib/report/errors.ts; absent for 0. */
  readonly errorClass?: string;
  /** Of the run that ended so. */
  readonly signal?: NodeJS.Signals;
  /** In a few words, for `--help`. */
  readonly summary: string;
  /** In a sentence, for the documents. */
  readonly meaning: string;
  /** The `code` of a failure -> what happened. */
  readonly words: Readonly<Record<string, string>>;
}

export const exitCodes = [
  { code: 0, summary: 'done', meaning: 'done', words: {} },
  {
    code: 1,
    errorClass: 'FailedError',
    summary: 'failed',
    meaning:
      'the work itself failed: no space, an I/O error, a time limit; also an internal error (undone like any other)',
    words: {
      failed: 'any failure that has no word of its own',
      'no-space': 'a disk, a folder or a volume group has too little free space',
      'vm-busy': 'the VM is being exported, or is locked',
      'guest-frozen': 'another tool has frozen the guest, which is left as it is',
      'freeze-failed': 'the guest could not be frozen, and `--require-freeze` was given',
      'not-undone': '`cleanup` could not undo everything',
      'internal-error': 'an error in onevmdump',
    },
  },
  {
    code: 2,
    errorClass: 'UsageError',
    summary: 'wrong usage or input',
    meaning:
      'wrong arguments, options, configuration, credentials, or input that is not what it must be',
    words: {
      'wrong-usage': 'any wrong argument, option or input that has no word of its own',
      'wrong-configuration': 'the configuration file or an `ONEVMDUMP_` variable is not valid',
      'no-credentials': 'there are no credentials for OpenNebula',
      'bundle-not-found': 'there is no such bundle',
      'file-exists': 'the file to be written exists already (`--force` replaces it)',
      'disk-not-found': 'the VM or the bundle has no disk with this id',
    },
  },
  {
    code: 3,
    errorClass: 'UnsupportedError',
    summary: 'unsupported state or storage',
    meaning: "the VM's state, or the storage of one of its disks, cannot be handled",
    words: {
      unsupported: 'anything unsupported that has no word of its own',
      'unsupported-state': 'a VM in this state cannot be exported',
      'unsupported-hypervisor': 'a VM that neither KVM nor QEMU runs cannot be exported',
      'unsupported-storage': 'a disk on this storage cannot be read',
    },
  },
  {
    code: 4,
    errorClass: 'CommandError',
    summary: 'an external command failed',
    meaning:
      'an external program failed, did not answer, printed what it never should, or is not installed',
    words: {
      'command-failed':
        'an external program failed, did not answer, or printed what it never should',
      'command-not-found': 'an external program is not installed',
      'host-unreachable': 'a host cannot be reached by ssh, or the connection was lost',
    },
  },
  {
    code: 5,
    errorClass: 'BundleError',
    summary: 'bundle damaged',
    meaning: 'the bundle is damaged, unreadable, or holds what a bundle must not hold',
    words: {
      'bundle-damaged': 'the bundle is damaged, unreadable, or not one that may be restored',
      'bundle-cut': 'the bundle lost its end; `--salvage` gets the disks in `wholeDisks`',
    },
  },
  {
    code: 6,
    errorClass: 'OpenNebulaError',
    summary: 'OpenNebula refused, or cannot be reached',
    meaning: 'OpenNebula refused a call, could not be reached, or could not take over an image',
    words: {
      'opennebula-failed': 'any failure of OpenNebula that has no word of its own',
      'opennebula-refused': 'OpenNebula refused a call; `oneCode` is its own number',
      'datastore-full': 'an image datastore of OpenNebula has too little free space',
      'opennebula-unreachable': 'OpenNebula does not answer',
      'not-authenticated': 'the credentials are not those of a user',
      'vm-not-found': 'there is no VM with this id',
      'object-not-found': 'there is no image, datastore or other object with this id',
    },
  },
  {
    code: 7,
    errorClass: 'PartialError',
    summary: 'restored or extracted what was left of a bundle that lost its end',
    meaning: 'what was left of a bundle that lost its end was restored or extracted (`--salvage`)',
    words: { 'bundle-incomplete': 'the bundle lost its end; what was left of it was used' },
  },
  {
    code: 129,
    errorClass: 'InterruptedError',
    signal: 'SIGHUP',
    summary: 'interrupted by SIGHUP; everything was undone',
    meaning: 'interrupted by SIGHUP; everything was undone',
    words: {},
  },
  {
    code: 130,
    errorClass: 'InterruptedError',
    signal: 'SIGINT',
    summary: 'interrupted by SIGINT (Ctrl-C); everything was undone',
    meaning: 'interrupted by SIGINT (Ctrl-C); everything was undone',
    words: { interrupted: 'a signal ended the run; everything was undone' },
  },
  {
    code: 143,
    errorClass: 'InterruptedError',
    signal: 'SIGTERM',
    summary: 'interrupted by SIGTERM; everything was undone',
    meaning: 'interrupted by SIGTERM; everything was undone',
    words: {},
  },
] as const satisfies readonly ExitCode[];

type Row = (typeof exitCodes)[number];
type WordsOf<R> = R extends { readonly words: infer Words } ? keyof Words & string : never;

/** The `code` of a failure. */
export type ErrorCode = WordsOf<Row>;
/** Those that errors of this class can have. */
export type ErrorCodeOf<Class extends string> = WordsOf<
  Extract<Row, { readonly errorClass: Class }>
>;
/** A signal that ends a run. */
export type EndSignal = Extract<Row, { readonly signal: string }>['signal'];

/** The exit code of a failure with this word. */
export function exitCodeOf(word: ErrorCode): number {
  return rowWhere(({ words }) => Object.hasOwn(words, word)).code;
}

/** The exit code of a run that was ended by this signal. */
export function exitCodeOfSignal(signal: EndSignal): number {
  return rowWhere((row) => row.signal === signal).code;
}

function rowWhere(matches: (row: ExitCode) => boolean): ExitCode {
  const found = exitCodes.find(matches);
  if (found) return found;
  throw new Error('not in the table of exit codes');
}
