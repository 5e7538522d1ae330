// Declares a command to yargs from its description, and makes the checks of options that yargs does not make.
import type { Argv, Options } from 'yargs';
import { UsageError } from '../../lib/report/errors.ts';
import {
  isFlag,
  type CommandDescription,
  type OptionDescription,
  type OptionTable,
} from './description.ts';

/** `export [vm_id]`, as yargs takes it. */
export function commandWords({ name, arguments: words = [] }: CommandDescription): string {
  return [name, ...words.map((word) => (word.required ? `<${word.name}>` : `[${word.name}]`))].join(
    ' ',
  );
}

/** Declares the arguments, the options and the examples of a command. */
export function declareCommand(argv: Argv, description: CommandDescription): Argv {
  const { name, arguments: words = [], usage, options, examples } = description;
  argv.usage(`$0 ${name} ${usage}`);
  for (const word of words) {
    argv.positional(word.name, {
      type: 'string',
      describe: word.help,
      demandOption: word.required,
    });
  }
  declareOptions(argv, options, 'Options:');
  for (const { command, help } of examples) argv.example(command, help);
  return argv;
}

/** @param group the heading of options that have none of their own */
export function declareOptions(argv: Argv, options: OptionTable, group?: string): Argv {
  for (const [name, option] of Object.entries(options)) {
    const heading = option.group ?? group;
    argv.option(name, {
      ...forYargs(option),
      ...(heading === undefined ? {} : { group: heading }),
    });
  }
  return argv;
}

function forYargs(option: OptionDescription): Options {
  const { alias, argument, choices, help, initial, repeatable, needs } = option;
  const notes = [
    ...(needs === undefined ? [] : [`with --${needs}`]),
    ...(repeatable ? ['may be repeated'] : []),
  ];
  return {
    ...(alias === undefined ? {} : { alias }),
    ...(isFlag(option) ? { type: 'boolean' } : { requiresArg: true }),
    ...(argument === undefined ? {} : { type: 'string', ...(repeatable ? { array: true } : {}) }),
    ...(choices ? { choices } : {}),
    ...(initial === undefined ? {} : { default: initial }),
    ...(option.default === undefined ? {} : { defaultDescription: option.default }),
    describe: `${argument === undefined ? '' : `${argument}: `}${help}${notes.length > 0 ? ` (${notes.join('; ')})` : ''}`,
  };
}

/**
 * Returns the arguments as the command expects them: a flag that was not given is false.
 * @throws UsageError for an option that was given more than once, or without the option it needs, or with one that it
 *   excludes
 */
export function checkedArguments(
  args: Readonly<Record<string, unknown>>,
  options: OptionTable,
): Record<string, unknown> {
  const checked: Record<string, unknown> = { ...args };
  const given = (name: string): boolean => ![undefined, false].includes(args[name] as undefined);
  for (const [name, option] of Object.entries(options)) {
    // yargs makes a list of an option that was given several times. A flag may be repeated.
    if (!option.repeatable && !isFlag(option) && Array.isArray(args[name])) {
      throw new UsageError(`--${name} was given more than once`);
    }
    if (isFlag(option)) checked[camelCase(name)] = isTrue(args[name]);
  }
  for (const [name, { needs, excludes }] of Object.entries(options).filter(([one]) => given(one))) {
    if (needs !== undefined && !given(needs)) throw new UsageError(`--${name} needs --${needs}`);
    if (excludes !== undefined && given(excludes)) {
      throw new UsageError(`--${name} and --${excludes} exclude each other`);
    }
  }
  return checked;
}

/** If a flag was given several times, the last one decides. */
function isTrue(value: unknown): boolean {
  return (Array.isArray(value) ? (value as unknown[]).at(-1) : value) === true;
}

function camelCase(name: string): string {
  return name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
