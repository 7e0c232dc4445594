/*
 * Packs every published package and judges the tarball as an installer would see it: publint (the fields of
 * package.json against the files) and attw (the types as each module resolution finds them; these packages are
 * ESM only, so resolutions that cannot load ESM are left out).
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { packInto, publicPackages } from './tarballs.mjs'

const withoutModules = new Set(['node10', 'node16-cjs'])

const folder = mkdtempSync(join(tmpdir(), 'diskgraph-packages-'))
try {
  const found = publicPackages()
  const tarballs = packInto(
    folder,
    found.map(({ manifest }) => manifest.name),
  )
  let failed = 0
  for (const { folder: name, manifest } of found) {
    const problems = await check(manifest, readFileSync(tarballs.get(manifest.name)))
    for (const problem of problems) process.stdout.write(`${name}: ${problem}\n`)
    if (problems.length > 0) failed++
  }
  process.stdout.write(`${found.length - failed} of ${found.length} packages are fit to publish\n`)
  process.exitCode = failed > 0 ? 1 : 0
} finally {
  rmSync(folder, { recursive: true, force: true })
}

async function check(manifest, bytes) {
  const problems = await publintProblems(bytes)
  if (manifest.exports) problems.push(...(await attwProblems(bytes)))
  return problems
}

async function publintProblems(bytes) {
  const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
  const { messages, pkg } = await publint({ pack: { tarball }, level: 'warning', strict: true })
  return messages.map((message) => `publint: ${formatMessage(message, pkg, { color: false })}`)
}

async function attwProblems(bytes) {
  const result = await checkPackage(createPackageFromTarballData(new Uint8Array(bytes)))
  if (!result.types) return ['attw: the package has no types']
  return result.problems
    .filter((problem) => !withoutModules.has(problem.resolutionKind) && problem.resolutionOption !== 'node10')
    .map((problem) =>
      `attw: ${problem.kind} ${problem.entrypoint ?? problem.fileName ?? ''} ${problem.resolutionKind ?? ''}`.trim(),
    )
}
