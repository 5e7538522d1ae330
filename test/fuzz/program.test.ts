// The program `npm run fuzz`, as built.
import { expect, test } from '@jest/globals';
import { runToEnd } from '../support/shell.ts';

const program = new URL('../../dist/test/fuzz/main', import.meta.url).pathname;

// Nothing but the reader of a bundle and its threads keeps such a process alive: it once ended with exit code 0 while it
// waited for the end of a thread.
test.each(['forged-bundle', 'lvs'])('npm run fuzz runs cases of %s in a child process to their end', async (parser) => {
  const ended = await runToEnd('node', [program, parser, '--cases', '3']);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  expect(ended.stdout).toMatch(new RegExp(`^${parser}: 3 cases in .*, 0 failures\\n0 failures\\n$`));
}); // prettier-ignore

test('npm run fuzz refuses the name of a parser that does not exist', async () => {
  const { code, stdout } = await runToEnd('node', [program, 'nothing', '--cases', '3']);
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
});
