// The hook that restores the UEFI variables of a VM. OpenNebula's hook manager runs it when a VM is being deployed (PROLOG), as
// restore-nvram.onehook says. It ends at once for a VM without such variables in its user template.
//   ARGUMENTS: $TEMPLATE, the VM's XML in base64, on stdin (ARGUMENTS_STDIN = yes) or as one word
//   stdout:    nothing
//   stderr:    short log lines; after an error one last plain line. `onehook show ID -e` shows both
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
