// The command `onevmdump`: parses the command line. bin/commands/*-options.ts describe the commands, and other files in
// bin/commands/ carry them out. -h is the remote host, as in the older onevmdump; help is --help.
import yargs, { type Argv } from 'yargs';
import { hideBin } from 'yargs/helpers';
import { runEntrypoint, type EntrypointContext } from '../lib/entrypoint.ts';
import { UsageError } from '../lib/report/errors.ts';
import { exitCodes } from '../lib/report/exit-codes.ts';
import { toolVersion } from '../lib/report/version.ts';
import { printFailure, type CliCommand } from './commands/command.ts';
import {
  checkedArguments,
  commandWords,
  declareCommand,
  declareOptions,
} from './commands/declare.ts';
import { cleanupCommand } from './commands/cleanup.ts';
import { diffBundlesCommand } from './commands/diff.ts';
import { exportCommand } from './commands/export.ts';
import { extractCommand } from './commands/extract.ts';
import { globalOptions } from './commands/global-options.ts';
import { listCommand } from './commands/list.ts';
import { restoreCommand } from './commands/restore.ts';
import { showCommand } from './commands/show.ts';
import { verifyCommand } from './commands/verify.ts';

/** For the end of --help. */
const exitCodeLines = exitCodes.map(
  ({ code, summary }) => `  ${String(code).padEnd(3)}  ${summary}`,
);

type Chosen = (context: EntrypointContext) => Promise<void>;

/** Parses the words of the command line; undefined after --help or --version was printed. @throws UsageError */
async function choose(words: readonly string[]): Promise<Chosen | undefined> {
  let chosen: Chosen | undefined;
  const parser = yargs()
    .scriptName('onevmdump')
    .usage(
      '$0 <command>\n\nDumps an OpenNebula VM with all its disks into one file, and restores it.',
    )
    // --no-lock is not the negation of an option --lock, and "8" stays a text until it is checked.
    .parserConfiguration({ 'boolean-negation': false, 'parse-positional-numbers': false })
    .updateStrings({ 'Positionals:': 'Arguments:', 'Options:': 'General options:' });
  declareOptions(parser, globalOptions);
  const define = <Options>({ description, run }: CliCommand<Options>): void => {
    const options = { ...globalOptions, ...description.options };
    const declare = (argv: Argv): Argv => declareCommand(argv, description);
    parser.command(commandWords(description), description.summary, declare, (args) => {
      const checked = checkedArguments(args, options) as Options;
      chosen = (context) => run(checked, context);
    });
  };
  define(exportCommand);
  define(restoreCommand);
  define(extractCommand);
  define(listCommand);
  define(showCommand);
  define(verifyCommand);
  define(diffBundlesCommand);
  define(cleanupCommand);
  await parser
    .demandCommand(1, 1, 'which command? (see: onevmdump --help)')
    .strict()
    .help('help')
    .version(toolVersion)
    .epilogue(['Exit codes:', ...exitCodeLines].join('\n'))
    .wrap(Math.min(110, process.stdout.columns || 100))
    .exitProcess(false)
    .fail((message, error) => {
      if (message)
        throw new UsageError(
          message.includes('--help') ? message : `${message} (see: onevmdump --help)`,
        );
      throw error;
    })
    .parseAsync([...words]);
  return chosen;
}

const words = hideBin(process.argv);
// Found without the parser, because a failure to parse is also printed as JSON.
const wantsJson = words.some((word) => word === '--json' || word === '--json=true');
void runEntrypoint({
  script: 'onevmdump',
  debug: words.some((word) => word === '--debug' || /^-[A-Za-z]*D$/.test(word)),
  ...(wantsJson ? { onFailure: printFailure } : {}),
  main: async (context) => {
    const chosen = await choose(words);
    await chosen?.(context);
  },
});
