// The order of imports between the rooms of the code: which folder may import which. ESLint refuses an import against
// this order (eslint.config.js). `node scripts/import-order.mjs` prints the whole graph and checks it.
// docs/architecture.md says what is in each room.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import ts from 'typescript';

/**
 * From top to bottom: a file may import from its own room and from every room below it. Rooms in one line must not
 * import each other. A file that is named here is a room of its own. Any other file belongs to the innermost folder that
 * is named here.
 */
export const order = [
  ['bin', 'hooks', 'drivers'],
  ['lib/backup'],
  ['lib/hook', 'lib/datastore'],
  ['lib/restore-vm.ts'],
  ['lib/restore'],
  ['lib/export-vm.ts'],
  ['lib/write-bundle.ts'],
  ['lib/entrypoint.ts'],
  ['lib/session'],
  ['lib/storage/registry.ts'],
  ['lib/storage/file', 'lib/storage/lvm', 'lib/storage/ceph', 'lib/storage/device'],
  ['lib/storage/point-in-time.ts'],
  ['lib/storage/choose-job.ts'],
  ['lib/storage/job'],
  ['lib/storage'],
  ['lib/guest'],
  ['lib/one'],
  ['lib/config'],
  ['lib/bundle/location'],
  ['lib/bundle/write'],
  ['lib/bundle/read'],
  ['lib/bundle/threads'],
  ['lib/bundle/format'],
  ['lib/bundle/compression'],
  ['lib/bundle'],
  ['lib/qcow2'],
  ['lib/read'],
  ['lib/tools'],
  ['lib/vm'],
  ['lib/run'],
  ['lib/xml'],
  ['lib/report'],
];

const root = resolve(import.meta.dirname, '..');
const rooms = order.flat();

/** The room of a file, both relative to the root of the repository; undefined for files outside of the product. */
export function roomOf(file) {
  return rooms
    .filter((room) => file === room || file.startsWith(`${room}/`))
    .sort((a, b) => b.length - a.length)[0];
}

/** Why a file of the room `from` must not import one of the room `to`; undefined when it may. */
export function objection(from, to) {
  if (from === to) return undefined;
  const level = (room) => order.findIndex((line) => line.includes(room));
  if (level(from) < level(to)) return undefined;
  return `${from} must not import ${to}: imports go down the order of docs/architecture.md`;
}

/** The rule for ESLint: an import against the order is an error. */
export const importOrderRule = {
  create(context) {
    const file = relative(root, context.filename);
    const from = roomOf(file);
    const check = ({ source }) => {
      if (from === undefined || typeof source?.value !== 'string') return;
      if (!source.value.startsWith('.')) return;
      const to = roomOf(join(dirname(file), source.value));
      const message = to === undefined ? `${from} imports the product only` : objection(from, to);
      if (message !== undefined) context.report({ node: source, message });
    };
    return {
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
      TSImportType: (node) => check({ source: node.source ?? node.argument }),
    };
  },
};

/** Every import between two rooms: `{ from, to, file, imported }`. */
export function importsBetweenRooms() {
  return importsOfProduct().filter(({ from, to }) => from !== to);
}

/** Every import of the product, types included. */
export function importsOfProduct() {
  const tops = [...new Set(rooms.map((room) => room.split('/')[0]))];
  return tops.flatMap((top) => sourcesIn(top)).flatMap((file) => importsOf(file));
}

function importsOf(file) {
  const { importedFiles } = ts.preProcessFile(readFileSync(join(root, file), 'utf8'), true, true);
  return importedFiles
    .filter(({ fileName }) => fileName.startsWith('.'))
    .map(({ fileName }) => join(dirname(file), fileName))
    .map((imported) => ({ from: roomOf(file), to: roomOf(imported), file, imported }));
}

function sourcesIn(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

/**
 * What is wrong with the graph, one line for each fault: files without a room, imports against the order, and rooms that
 * import each other.
 */
export function faultsOf(imports) {
  const wrong = imports.flatMap(({ from, to, file, imported }) => {
    if (from === undefined || to === undefined) return [`${file} -> ${imported}: not in the order`];
    const why = objection(from, to);
    return why === undefined ? [] : [`${file} -> ${imported}: ${why}`];
  });
  const arrows = new Set(imports.map(({ from, to }) => `${from} ${to}`));
  const pairs = [...arrows]
    .map((arrow) => arrow.split(' '))
    .filter(([from, to]) => from < to && arrows.has(`${to} ${from}`))
    .map(([from, to]) => `${from} and ${to} import each other`);
  return [...wrong, ...pairs];
}

/** Files that import each other, directly or through others, also for types only: one line for each circle found. */
export function circlesOf(imports) {
  const below = new Map();
  for (const { file, imported } of imports) {
    if (!below.has(file)) below.set(file, []);
    below.get(file).push(imported);
  }
  const done = new Set();
  const circles = [];
  const visit = (file, path) => {
    const at = path.indexOf(file);
    if (at >= 0) circles.push([...path.slice(at), file].join(' -> '));
    if (at >= 0 || done.has(file)) return;
    for (const next of below.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of below.keys()) visit(file, []);
  return circles;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const imports = importsBetweenRooms();
  for (const room of rooms) {
    console.log(room);
    const below = imports.filter(({ from }) => from === room).map(({ to }) => to);
    for (const to of rooms.filter((other) => below.includes(other))) {
      console.log(`  ${below.filter((other) => other === to).length} ${to}`);
    }
  }
  const faults = [...faultsOf(imports), ...circlesOf(importsOfProduct())];
  for (const fault of faults) console.error(fault);
  process.exitCode = faults.length > 0 ? 1 : 0;
}
