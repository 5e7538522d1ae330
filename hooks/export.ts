// The export hook. OpenNebula's hook manager runs it when a VM reaches a state that one of the hook templates in this folder
// (*.onehook) names. All templates use the same program, which reads everything else from the VM's XML.
//   ARGUMENTS: $TEMPLATE, the VM's XML in base64, on stdin (ARGUMENTS_STDIN = yes) or as one word
//   stdout:    the bundle's path; nothing when there was nothing to do
//   stderr:    short log lines; after an error one last plain line. `onehook show ID -e` shows both
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
