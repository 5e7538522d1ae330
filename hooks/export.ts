// The export hook: OpenNebula's hook manager runs it when a VM reaches a state; which states, the hook
// templates beside this file say (*.onehook). One program for all: the VM's XML says the rest.
//   ARGUMENTS: $TEMPLATE, the VM's XML in base64, on stdin (ARGUMENTS_STDIN = yes) or as one word
//   stdout:    the bundle's path; nothing when there was nothing to do
//   stderr:    short log lines; after an error one last plain line. Both stand in `onehook show ID -e`
import { isDebug, runEntrypoint } from '../lib/entrypoint.ts';
import { runExportHook } from '../lib/hook/run-hook.ts';
import { rawStdin } from '../lib/xml/raw-stdin.ts';

void runEntrypoint({
  script: 'export',
  debug: isDebug(process.env),
  light: true,
  main: (context) =>
    runExportHook({ words: process.argv.slice(2), stdin: rawStdin(), env: process.env }, context),
});
