// The addresses of a network's ranges: which belongs to an index, and which index belongs to an address.
// Source: AddressRange.cc, read in 6.4.7, 6.10.5 and 7.4.0.
import type { Vector } from './template.ts';

export type RangeType = 'IP4' | 'IP6' | 'IP4_6' | 'IP6_STATIC' | 'IP4_6_STATIC' | 'ETHER';

export interface AddressRange {
  readonly id: number;
  readonly type: RangeType;
  readonly size: number;
  /** The first IPv4 address. */
  readonly ip?: string;
  /** The first address of a static IPv6 range. */
  readonly ip6?: string;
  /** The first four groups of the addresses made from the MAC, such as 2001:db8:0:1. */
  readonly globalPrefix?: string;
  readonly ulaPrefix?: string;
  /** The first MAC; without it 02:00 and the bytes of the first IPv4 address. */
  readonly mac?: string;
  /** More attributes of the range, such as GATEWAY; a NIC takes over those that the network hands down. */
  readonly attributes?: Readonly<Record<string, string>>;
}

function ipNumber(ip: string): number | undefined {
  const bytes = ip.split('.').map(Number);
  const good = /^\d+(\.\d+){3}$/.test(ip) && bytes.every((byte) => byte < 256);
  return good ? bytes.reduce((sum, byte) => sum * 256 + byte, 0) : undefined;
}

function ipText(number: number): string {
  return [24, 16, 8, 0].map((bits) => Math.floor(number / 2 ** bits) % 256).join('.');
}

function macNumber(mac: string): number | undefined {
  return /^([0-9a-f]{1,2}:){5}[0-9a-f]{1,2}$/i.test(mac)
    ? mac.split(':').reduce((sum, byte) => sum * 256 + parseInt(byte, 16), 0)
    : undefined;
}

function hexPairs(number: bigint, length: number): string[] {
  return number.toString(16).padStart(length, '0').match(/../g) ?? [];
}

function macText(number: number): string {
  return hexPairs(BigInt(number), 12).join(':');
}

/** The shortest form, as inet_ntop writes it; undefined for something that is not an address. */
function ip6Short(ip6: string): string | undefined {
  return URL.canParse(`http://[${ip6}]/`)
    ? new URL(`http://[${ip6}]/`).hostname.slice(1, -1)
    : undefined;
}

function ip6Number(ip6: string): bigint | undefined {
  const short = ip6Short(ip6);
  if (short === undefined) return undefined;
  const [before = '', behind] = short.split('::');
  const groups = (text: string): string[] => (text === '' ? [] : text.split(':'));
  const [head, tail] = [groups(before), groups(behind ?? '')];
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  return BigInt(
    `0x${[...head, ...zeros, ...tail].map((group) => group.padStart(4, '0')).join('')}`,
  );
}

function ip6Text(number: bigint): string {
  const groups = number.toString(16).padStart(32, '0').match(/..../g) ?? [];
  return ip6Short(groups.join(':')) ?? '';
}

/** The address that a prefix of 64 bits and a MAC make (modified EUI-64). */
function fromPrefix(prefix: string, mac: number): string {
  const bytes = hexPairs(BigInt(mac), 12).map((byte) => parseInt(byte, 16));
  const id = [(bytes[0] ?? 0) ^ 2, ...bytes.slice(1, 3), 0xff, 0xfe, ...bytes.slice(3)];
  const host = id.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  return ip6Text((ip6Number(`${prefix}::`) ?? 0n) + host);
}

function firstMac(range: AddressRange): number {
  const given = range.mac === undefined ? undefined : macNumber(range.mac);
  return given ?? 0x02_00_00_00_00_00 + (ipNumber(range.ip ?? '') ?? 0);
}

/** IP, IP6 and MAC of an index, as oned writes them into a NIC. */
export function addressesOf(range: AddressRange, index: number): Readonly<Record<string, string>> {
  const mac = firstMac(range) + index;
  const { type, ip, ip6, globalPrefix, ulaPrefix } = range;
  const prefixed = type === 'IP6' || type === 'IP4_6';
  return {
    MAC: macText(mac),
    ...(ip === undefined ? {} : { IP: ipText((ipNumber(ip) ?? 0) + index) }),
    ...(prefixed ? { IP6_LINK: fromPrefix('fe80', mac) } : {}),
    ...(ulaPrefix === undefined ? {} : { IP6_ULA: fromPrefix(ulaPrefix, mac) }),
    ...(globalPrefix === undefined ? {} : { IP6_GLOBAL: fromPrefix(globalPrefix, mac) }),
    ...(ip6 === undefined ? {} : { IP6: ip6Text((ip6Number(ip6) ?? 0n) + BigInt(index)) }),
  };
}

export type AddressKind = 'IP' | 'IP6' | 'MAC';

/**
 * The index of an address, free or not; undefined when it is not in the range.
 * IP6 is an address of its own only in static ranges.
 */
export function indexOf(
  range: AddressRange,
  kind: AddressKind,
  address: string,
): number | undefined {
  const distance = (
    wanted: number | bigint | undefined,
    first: number | bigint | undefined,
  ): number =>
    wanted === undefined || first === undefined ? -1 : Number(BigInt(wanted) - BigInt(first));
  const index =
    kind === 'IP'
      ? distance(ipNumber(address), ipNumber(range.ip ?? ''))
      : kind === 'IP6'
        ? distance(ip6Number(address), ip6Number(range.ip6 ?? ''))
        : distance(macNumber(address), firstMac(range));
  return index >= 0 && index < range.size ? index : undefined;
}

/** The index that a NIC of a VM holds. */
export function heldIndex(range: AddressRange, nic: Vector): number | undefined {
  const kinds = ['IP', 'IP6', 'MAC'] as const;
  const kind = kinds.find((one) => indexOf(range, one, nic.get(one) ?? '') !== undefined);
  return kind && indexOf(range, kind, nic.get(kind) ?? '');
}
