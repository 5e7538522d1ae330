/** Whether an error of node:zlib says that the data are damaged, too long or incomplete. */
export function isZlibError(error: unknown): error is NodeJS.ErrnoException {
  const { code } = error as Partial<NodeJS.ErrnoException>;
  return (
    typeof code === 'string' &&
    (code.startsWith('Z_') || code.startsWith('ZSTD_error_') || code === 'ERR_BUFFER_TOO_LARGE')
  );
}
