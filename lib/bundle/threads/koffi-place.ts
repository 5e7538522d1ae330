// Where koffi's native module is: one file of about one MB, for this machine's processor only.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// Seen from the folder of the running program: OpenNebula's hooks have it beside them, its drivers use the copy of the
// hooks (docs/decisions/0006-shared-parts.md says why remotes must be small), and the command has its own, which only root
// can change. The others are where the build and npm put it.
const places = [
  './koffi.node',
  '../../hooks/onevmdump/koffi.node',
  '../share/onevmdump/koffi.node',
  '../hooks/koffi.node',
  '../../hooks/koffi.node',
  `../../../node_modules/@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`,
];

/**
 * The paths where koffi is, best first; none if the environment says ONEVMDUMP_FFI=0, for whoever does not trust a library.
 * @param program the address of the running program
 */
export function koffiPlaces(program: string = import.meta.url): readonly string[] {
  if (process.env['ONEVMDUMP_FFI'] === '0') return [];
  const paths = places.map((place) => fileURLToPath(new URL(place, program)));
  return [...new Set(paths)].filter((path) => existsSync(path));
}
