// Prints the TM_MADs whose disks can be dumped, one per line. The build writes them into dist/ for install.sh, which
// also needs them where there is no Node.js, for example when a package is made.
import { tmMads } from '../lib/storage/registry.ts';

process.stdout.write(`${tmMads.join('\n')}\n`);
