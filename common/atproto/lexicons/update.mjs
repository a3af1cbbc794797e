// Rewrites lexicons.jsonl and manifest.json from the packages named below. See README.md beside this file.
//
//     node common/atproto/lexicons/update.mjs
//
// Needs node, npm, cargo and tar. Neither the build nor the tests run it.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runInNewContext } from 'node:vm'

/** Newest first: a document comes from the first package that has it. */
const SOURCES = [
  { package: '@atproto/api', version: '0.21.0', registry: 'npm', read: readApiPackage },
  { package: 'jacquard-api', version: '0.12.2', registry: 'crates.io', read: readJacquardCrate },
]

const NAMESPACES = ['app.bsky.', 'chat.bsky.', 'com.atproto.', 'com.germnetwork.']

/** The package's schemas: one object literal in a module whose imports are not needed to read it. */
function readApiPackage({ package: name, version }, scratch) {
  const [{ filename }] = JSON.parse(run('npm', ['pack', '--json', `${name}@${version}`], scratch))
  const module = run('tar', ['-xzOf', filename, 'package/dist/client/lexicons.js'], scratch)
  const literal = /^export const schemaDict = (\{$.*?^\});$/ms.exec(module)
  if (!literal) throw new Error(`${name} ${version} has no schemaDict`)
  return Object.values(runInNewContext(`(${literal[1]})`))
}

/** The crate's folder of JSON files. `cfg(any())` is never true, so cargo fetches the crate and builds nothing. */
function readJacquardCrate({ package: name, version }, scratch) {
  const root = join(scratch, name)
  mkdirSync(root)
  writeFileSync(join(root, 'lib.rs'), '')
  writeFileSync(
    join(root, 'Cargo.toml'),
    `[package]\nname = "scratch"\nedition = "2021"\n[lib]\npath = "lib.rs"\n[workspace]\n` +
      `[target.'cfg(any())'.dependencies]\n${name} = { version = "=${version}", default-features = false }\n`,
  )
  const { packages } = JSON.parse(run('cargo', ['metadata', '--format-version', '1'], root))
  const folder = join(dirname(packages.find((found) => found.name === name).manifest_path), 'lexicons')
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'))
  return files.map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')))
}

/** Drops prose and writes references the short way: `#def` inside the document, no `lex:` in front of others. */
function tidy(value, id) {
  if (Array.isArray(value)) return value.map((item) => tidy(item, id))
  if (typeof value === 'string') return value.replace(`lex:${id}#`, '#').replace(/^lex:/, '')
  if (value === null || typeof value !== 'object') return value
  // A property may be called "description" too; that one is a schema, not a string.
  const kept = Object.entries(value).filter(([key, item]) => key !== 'description' || typeof item !== 'string')
  return Object.fromEntries(kept.map(([key, item]) => [key, tidy(item, id)]))
}

function collect(scratch) {
  const found = new Map()
  for (const source of SOURCES) {
    for (const document of source.read(source, scratch)) {
      const wanted = NAMESPACES.some((namespace) => document.id.startsWith(namespace))
      if (!wanted || found.has(document.id)) continue
      const text = JSON.stringify(tidy(document, document.id))
      const sha256 = createHash('sha256').update(text).digest('hex')
      found.set(document.id, { text, entry: { package: source.package, version: source.version, sha256 } })
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1))
}

function run(program, args, cwd) {
  return execFileSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 2 ** 30, stdio: ['ignore', 'pipe', 'inherit'] })
}

const here = dirname(fileURLToPath(import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'lexicons-'))
try {
  const documents = collect(scratch)
  const entries = documents.map(([id, { entry }]) => `  ${JSON.stringify(id)}: ${JSON.stringify(entry)}`)
  writeFileSync(join(here, 'lexicons.jsonl'), documents.map(([, { text }]) => `${text}\n`).join(''))
  writeFileSync(join(here, 'manifest.json'), `{\n${entries.join(',\n')}\n}\n`)
} finally {
  rmSync(scratch, { recursive: true })
}
