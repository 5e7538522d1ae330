// Variables in values of a VM's template: $NAME, $VECTOR[NAME], $VECTOR[NAME, KEY="value"]. Everything else is
// copied as it is, also `\$`, whose backslash stays.
// Source: vm_var_parser.l, vm_var_syntax.y and VirtualMachine::parse_template_attribute, equal in 6.4.7, 6.10.5
// and 7.4.0.
import { VariableLexer } from './variable-lexer.ts';
import type { Vector } from './template.ts';
import { vmXml } from './vm.ts';
import type { Vm } from './vm.ts';
import type { World } from './world.ts';

function single(vm: Vm, name: string): string {
  const known: Readonly<Record<string, string | number>> = {
    UID: vm.uid,
    UNAME: vm.uname,
    GID: vm.gid,
    GNAME: vm.gname,
    NAME: vm.name,
  };
  if (name === 'TEMPLATE') return Buffer.from(vmXml(vm)).toString('base64');
  if (Object.hasOwn(known, name)) return String(known[name]);
  return vm.template.get(name) || (vm.userTemplate.get(name) ?? '');
}

function networkValue(world: World, vm: Vm, name: string, key: string, value: string): string {
  if (!['NETWORK', 'NETWORK_ID', 'NIC_ID'].includes(key)) return '';
  const asked = (nic: Vector): boolean => nic.get(key) === value;
  const nic =
    vm.template.vectors('NIC_ALIAS').find(asked) ?? vm.template.vectors('NIC').find(asked);
  const network = world.networks.get(Number(nic?.get('NETWORK_ID') ?? NaN));
  const range = network?.ranges.find(({ id }) => String(id) === nic?.get('AR_ID'));
  if (!network || !range) return '';
  return range.attributes?.[name] || (network.template.get(name) ?? '');
}

function imageValue(world: World, vm: Vm, name: string, key: string, value: string): string {
  if (!['IMAGE', 'IMAGE_ID'].includes(key)) return '';
  const disk = vm.template.vectors('DISK').find((one) => one.get(key) === value);
  return world.images.get(Number(disk?.get('IMAGE_ID') ?? NaN))?.template.get(name) ?? '';
}

/** VECTOR[NAME], or VECTOR[NAME, KEY=VALUE]. */
function inVector(world: World, vm: Vm, [vector, name, key, value]: readonly string[]): string {
  if (vector === undefined || name === undefined) return '';
  if (vector === 'NETWORK') return networkValue(world, vm, name, key ?? '', value ?? '');
  if (vector === 'IMAGE') return imageValue(world, vm, name, key ?? '', value ?? '');
  if (vector === 'USER') return world.users.byId(vm.uid).template.get(name) ?? '';
  const all = vm.template.vectors(vector);
  const chosen = key === undefined ? all[0] : all.find((one) => one.get(key) === value);
  return chosen?.get(name) ?? '';
}

/** Fills in the variables of a value. @throws VmError with oned's words for one that it cannot parse. */
export function fillIn(world: World, vm: Vm, text: string): string {
  const lexer = new VariableLexer(text);
  let filled = '';
  let first = true;
  for (;;) {
    const begin = first ? [] : (['$end'] as const);
    const token = lexer.expect(...begin, 'VARIABLE', 'RSTRING');
    first = false;
    if (token.name === '$end') return filled;
    if (token.name === 'RSTRING') {
      filled += token.text;
      continue;
    }
    const name = token.text.toUpperCase();
    const next = lexer.expect('OBRACKET', 'EOA');
    if (next.name === 'EOA') {
      filled += single(vm, name) + next.text;
      continue;
    }
    const parts = [name, lexer.expect('VARIABLE').text.toUpperCase()];
    if (lexer.expect('COMMA', 'CBRACKET').name === 'COMMA') {
      parts.push(lexer.expect('VARIABLE').text.toUpperCase());
      lexer.expect('EQUAL');
      parts.push(lexer.expect('STRING').text);
      lexer.expect('CBRACKET');
    }
    const end = lexer.expect('EOA');
    filled += inVector(world, vm, parts) + end.text;
  }
}

/** oned joins a vector into one text before it fills in variables, and takes it apart again afterwards. */
const separator = '@^_^@';

/** A vector with its variables filled in. @throws VmError. */
export function filledVector(world: World, vm: Vm, vector: Vector): Vector {
  const sorted = [...vector].sort(([a], [b]) => (a < b ? -1 : 1));
  const joined = sorted.map(([key, value]) => `${key}=${value}`).join(separator);
  const filled: Vector = new Map();
  for (const part of fillIn(world, vm, joined).split(separator)) {
    const equal = part.indexOf('=');
    const key = part.slice(0, equal);
    if (equal >= 0 && !filled.has(key)) filled.set(key, part.slice(equal + 1));
  }
  return filled;
}
