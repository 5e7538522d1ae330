/** Types of import-order.mjs for the tests. */
export interface RoomImport {
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly file: string;
  readonly imported: string;
}
export const order: readonly (readonly string[])[];
export function roomOf(file: string): string | undefined;
export function objection(from: string, to: string): string | undefined;
export function importsBetweenRooms(): readonly RoomImport[];
export function importsOfProduct(): readonly RoomImport[];
export function circlesOf(
  imports: readonly Pick<RoomImport, 'file' | 'imported'>[],
): readonly string[];
export function faultsOf(imports: readonly RoomImport[]): readonly string[];
