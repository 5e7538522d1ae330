// Prints the TM_MADs of system datastores whose disks can be dumped, one per line. The build writes them into dist/ for
// install.sh, which also needs them where there is no Node.js, for example when a package is made.
import { systemTmMads } from '../lib/storage/registry.ts';

process.stdout.write(`${systemTmMads.join('\n')}\n`);
