// The command `onevmdump`: words and options. What each command does is in bin/commands/.
// -h is the remote host, as in the older onevmdump; help is --help.
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { runEntrypoint, type EntrypointContext } from '../lib/entrypoint.ts';
import { UsageError } from '../lib/report/errors.ts';
import { toolVersion } from '../lib/report/version.ts';
import { requireOnce, type CommandDefinition } from './commands/command.ts';
import { cleanupCommand } from './commands/cleanup.ts';
import { exportCommand } from './commands/export.ts';
import { extractCommand } from './commands/extract.ts';
import { listCommand } from './commands/list.ts';
import { restoreCommand } from './commands/restore.ts';
import { showCommand } from './commands/show.ts';
import { verifyCommand } from './commands/verify.ts';

const exitCodes = `Exit codes:
  0 done   1 failed   2 wrong usage or input   3 unsupported state or storage
  4 an external command failed   5 bundle damaged   6 OpenNebula refused
  7 restored or extracted what was left of a bundle that lost its end
  129, 130, 143 interrupted by SIGHUP, SIGINT or SIGTERM (everything was undone)`;

type Chosen = (context: EntrypointContext) => Promise<void>;

/** Parses the words; undefined when all was said by --help or --version. @throws UsageError */
async function choose(words: readonly string[]): Promise<Chosen | undefined> {
  let chosen: Chosen | undefined;
  const parser = yargs()
    .scriptName('onevmdump')
    .usage(
      '$0 <command>\n\nDumps an OpenNebula VM with all its disks into one file, and restores it.',
    )
    // --no-lock is an option of its own, and "8" is a text until it was checked.
    .parserConfiguration({ 'boolean-negation': false, 'parse-positional-numbers': false })
    .option('debug', {
      alias: 'D',
      type: 'boolean',
      default: false,
      describe: 'Log the commands that are run, and stacks of errors',
    })
    .option('json', {
      type: 'boolean',
      default: false,
      describe: 'Print the result as one JSON object',
    })
    .option('config', {
      type: 'string',
      requiresArg: true,
      describe: 'Configuration file',
      defaultDescription: '/etc/one/onevmdump.conf',
    });
  const define = <Options>(definition: CommandDefinition<Options>): void => {
    parser.command(definition.words, definition.describe, definition.options, (args) => {
      requireOnce(args, definition.repeatable);
      chosen = (context) => definition.run(args as Options, context);
    });
  };
  define(exportCommand);
  define(restoreCommand);
  define(extractCommand);
  define(listCommand);
  define(showCommand);
  define(verifyCommand);
  define(cleanupCommand);
  await parser
    .demandCommand(1, 1, 'which command? (see: onevmdump --help)')
    .strict()
    .help('help')
    .version(toolVersion)
    .epilogue(exitCodes)
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
void runEntrypoint({
  script: 'onevmdump',
  debug: words.some((word) => word === '--debug' || /^-[A-Za-z]*D$/.test(word)),
  main: async (context) => {
    const chosen = await choose(words);
    await chosen?.(context);
  },
});
