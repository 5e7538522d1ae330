/** STATE of an image: Image::ImageState of oned. */
export const imageState = {
  init: 0,
  ready: 1,
  used: 2,
  disabled: 3,
  locked: 4,
  error: 5,
  clone: 6,
  delete: 7,
  usedPersistent: 8,
  lockedUsed: 9,
  lockedUsedPersistent: 10,
} as const;

const names = Object.entries(imageState);

/** The state's name in oned's messages. */
export function imageStateName(state: number): string {
  return (names.find(([, value]) => value === state)?.[0] ?? 'unknown').toUpperCase();
}
