// The configuration file, in the style of OpenNebula's own rc files: KEY = value or KEY="value", and `#` begins a
// comment. The file is parsed and never executed: nothing in it is expanded.
import { join } from 'node:path';
import { errorMessage, hasCode, UsageError } from '../report/errors.ts';
import { readSmallFile } from './small-file.ts';
import type { SettingsReader } from '../run/run.ts';
import type { Setting } from './setting.ts';
import { coreSettings, type CoreConfig } from './settings.ts';

/** The configuration. */
export interface Config extends CoreConfig {
  /** Returns the values of the settings that a part of the tool declares in its own table. */
  readonly valuesOf: SettingsReader;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Where a value was set, for messages, and its text. */
interface Value {
  readonly from: string;
  readonly text: string;
}

export interface ConfigOptions {
  /** --config. */
  readonly file: string | undefined;
  readonly env: Environment;
  /** Called with a warning if the default file exists, but this user cannot read it. */
  readonly warn?: (text: string) => void;
}

/**
 * Reads the configuration. The environment (ONEVMDUMP_<KEY>) overrides the file, and the file overrides the defaults.
 * The caller applies the options of the command line, which override all of these. The file is `file` (--config), else
 * $ONEVMDUMP_CONFIG, else $ONE_LOCATION/etc/onevmdump.conf, else /etc/one/onevmdump.conf; only the last two may be
 * missing.
 * @param known all settings that the file may have
 * @throws UsageError naming file and line, or the variable
 */
export async function readConfig(
  known: readonly Setting<unknown>[],
  { file, env, warn = () => undefined }: ConfigOptions,
): Promise<Config> {
  const fromFile = await readConfigFile(known, file, env, warn);
  const values = new Map(
    known.map((setting) => {
      const value = fromEnvironment(setting, env) ??
        fromFile.get(setting.key) ?? { from: 'default', text: defaultOf(setting, env) };
      return [setting.key, parseValue(setting, value)];
    }),
  );
  const valuesOf = ((table: Readonly<Record<string, { readonly key: string }>>) =>
    Object.fromEntries(
      Object.entries(table).map(([name, { key }]) => {
        if (!values.has(key)) throw new Error(`the configuration was read without ${key}`);
        return [name, values.get(key)];
      }),
    )) as SettingsReader;
  return { ...valuesOf(coreSettings), valuesOf };
}

function parseValue(setting: Setting<unknown>, { from, text }: Value): unknown {
  try {
    return setting.parse(text);
  } catch (error) {
    throw wrong(`${from}: ${setting.key}: ${errorMessage(error)}`, { cause: error });
  }
}

/** The default of a setting, as it would be written in the file. */
export function defaultOf(setting: Setting<unknown>, env: Environment): string {
  const location = env['ONE_LOCATION'];
  return location && setting.underOneLocation !== undefined
    ? join(location, setting.underOneLocation)
    : setting.default;
}

/** An empty variable is treated as not set. */
function fromEnvironment(setting: Setting<unknown>, env: Environment): Value | undefined {
  const name = `ONEVMDUMP_${setting.key}`;
  const text = env[name];
  return text ? { from: name, text } : undefined;
}

async function readConfigFile(
  known: readonly Setting<unknown>[],
  given: string | undefined,
  env: Environment,
  warn: (text: string) => void,
): Promise<ReadonlyMap<string, Value>> {
  const asked = given ?? (env['ONEVMDUMP_CONFIG'] || undefined);
  const location = env['ONE_LOCATION'];
  const file =
    asked ?? (location ? join(location, 'etc/onevmdump.conf') : '/etc/one/onevmdump.conf');
  try {
    return parseConfig(known, await readSmallFile(file), file);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (asked === undefined && hasCode(error, 'ENOENT')) return new Map();
    // OpenNebula's packages make /etc/one unreadable for other users, who can still list and verify bundles.
    if (asked === undefined && hasCode(error, 'EACCES')) {
      warn(`${file} cannot be read by this user: its settings are not used`);
      return new Map();
    }
    throw wrong(`cannot read the configuration: ${errorMessage(error)}`, { cause: error });
  }
}

/** The error for a mistake in the file or in an environment variable. */
function wrong(message: string, options: { readonly cause?: unknown } = {}): UsageError {
  return new UsageError(message, { ...options, code: 'wrong-configuration' });
}

const assignment =
  /^(?<key>[A-Za-z_]\w*)[ \t]*=[ \t]*(?:"(?<double>[^"]*)"|'(?<single>[^']*)'|(?<bare>[^"'#]*?))[ \t]*(?:#.*)?$/;

/** Parses a configuration file into its keys and their values. @throws UsageError naming file and line */
export function parseConfig(
  known: readonly Setting<unknown>[],
  content: string,
  file: string,
): ReadonlyMap<string, Value> {
  const keys = new Set(known.map(({ key }) => key));
  const values = new Map<string, Value>();
  for (const [index, line] of content.split(/\r?\n/).entries()) {
    const stripped = line.trim();
    if (stripped === '' || stripped.startsWith('#')) continue;
    const from = `${file}, line ${index + 1}`;
    const { key, double, single, bare } = assignment.exec(stripped)?.groups ?? {};
    if (key === undefined) throw wrong(`${from}: expected KEY = value or KEY = "value"`);
    if (!keys.has(key)) throw wrong(`${from}: there is no setting ${key}`);
    const before = values.get(key);
    if (before) throw wrong(`${from}: ${key} was set already (${before.from})`);
    const text = double ?? single ?? bare ?? '';
    if (text.includes('$')) {
      throw wrong(`${from}: variables are not expanded; write out the value of ${key}`);
    }
    values.set(key, { from, text });
  }
  return values;
}
