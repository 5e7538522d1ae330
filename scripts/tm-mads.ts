// Prints the TM_MADs whose disks can be dumped, one a line. The build writes them into dist/ for install.sh, which has to
// know them also where no Node.js is, as when a package is made.
import { tmMads } from '../lib/storage/registry.ts';

process.stdout.write(`${tmMads.join('\n')}\n`);
