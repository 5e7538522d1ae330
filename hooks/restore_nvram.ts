// The hook that puts the UEFI variables of a restored VM into place: OpenNebula's hook manager runs it when a VM is being deployed
// (PROLOG), as restore-nvram.onehook says. For a VM whose user template carries none it ends at once.
//   ARGUMENTS: $TEMPLATE, the VM's XML in base64, on stdin (ARGUMENTS_STDIN = yes) or as one word
//   stdout:    nothing
//   stderr:    short log lines; after an error one last plain line. Both stand in `onehook show ID -e`
import { isDebug, runEntrypoint } from '../lib/entrypoint.ts';
import { runRestoreNvramHook } from '../lib/hook/run-restore-nvram.ts';
import { rawStdin } from '../lib/xml/raw-stdin.ts';

void runEntrypoint({
  script: 'restore_nvram',
  debug: isDebug(process.env),
  light: true,
  main: (context) =>
    runRestoreNvramHook(
      { words: process.argv.slice(2), stdin: rawStdin(), env: process.env },
      context,
    ),
});
