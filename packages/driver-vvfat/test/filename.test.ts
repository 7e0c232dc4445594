import { vvfat } from '@diskgraph/driver-vvfat'
import { expect, it } from 'vitest'

const usual = { floppy: false }

it.each([
  ['fat:folder', { ...usual, dir: 'folder' }],
  ['fat:/a/b', { ...usual, dir: '/a/b' }],
  ['fat:floppy:12:folder', { dir: 'folder', floppy: true, fatType: 12 }],
  ['fat:16:folder', { ...usual, dir: 'folder', fatType: 16 }],
  ['fat:rw:floppy:32:label:MINE:dir', { dir: 'dir', rw: true, floppy: true, fatType: 32, label: 'MINE' }],
  // No label stands before the directory.
  ['fat:label:folder', { ...usual, dir: 'folder' }],
  ['fat:c:\\folder', { ...usual, dir: 'c:\\folder' }],
  // As QEMU passes over words that it does not know.
  ['fat:word:folder', { ...usual, dir: 'folder' }],
])('%s', (name, options) => {
  expect(vvfat.parseFilename?.(name)).toEqual(options)
})
