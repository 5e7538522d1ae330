// Reads the configuration with the settings of all parts of the tool.
import { readConfig, type Config, type ConfigOptions } from '../config/config.ts';
import type { Setting } from '../config/setting.ts';
import { coreSettings } from '../config/settings.ts';
import { jobSettings } from '../storage/job/settings.ts';
import { storageModules } from '../storage/registry.ts';

/** Every setting that etc/onevmdump.conf can have, in the order of that file. */
export const allSettings: readonly Setting<unknown>[] = [
  ...Object.values<Setting<unknown>>(coreSettings),
  ...Object.values<Setting<unknown>>(jobSettings),
  ...storageModules.flatMap(({ settings }) => Object.values(settings)),
];

/** Reads the configuration. @throws UsageError naming file and line, or the variable */
export function loadConfig(options: ConfigOptions): Promise<Config> {
  return readConfig(allSettings, options);
}
