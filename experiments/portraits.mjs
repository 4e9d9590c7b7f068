// Draws portraits: reads one JSON line {"set", "options"} for each from standard input, writes one SVG a line to standard output.
// The folder of installed packages is the first argument. Options are dicebear's; every list in them holds one value, so nothing is left to chance.
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';

const modules = resolve(process.argv[2] ?? 'node_modules');
const load = (name) => import(pathToFileURL(resolve(modules, name, 'lib/index.js')).href);
const { createAvatar } = await load('@dicebear/core');
const sets = new Map();

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (!line.trim()) continue;
  const { set, options } = JSON.parse(line);
  if (!sets.has(set)) sets.set(set, await load(`@dicebear/${set}`));
  process.stdout.write(createAvatar(sets.get(set), options).toString().replace(/\s*\n\s*/g, ' ') + '\n');
}
