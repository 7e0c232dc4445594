import { ssh } from '@diskgraph/driver-ssh'
import { expect, test } from 'vitest'
import { keysIn } from '../src/known-hosts.ts'

const parse = (name: string): Record<string, unknown> => ssh.parseFilename?.(name) as Record<string, unknown>

test.each([
  ['ssh://host/a/b', { server: { host: 'host', port: '22' }, path: '/a/b' }],
  ['ssh://me@host:2222/a%20b', { server: { host: 'host', port: '2222' }, path: '/a b', user: 'me' }],
  ['ssh://[::1]:2222/a', { server: { host: '::1', port: '2222' }, path: '/a' }],
  [
    'ssh://host/a?host_key_check=no',
    { server: { host: 'host', port: '22' }, path: '/a', hostKeyCheck: { mode: 'none' } },
  ],
  [
    'ssh://host/a?host_key_check=sha1:ab',
    { server: { host: 'host', port: '22' }, path: '/a', hostKeyCheck: { mode: 'hash', type: 'sha1', hash: 'ab' } },
  ],
])('%s says where a file is, and is its name', (name, options) => {
  expect(parse(name)).toEqual(options)
  expect(ssh.formatFilename?.(options, {})).toBe(name)
})

test('a path below the home of a user has a json: name', () => {
  const name = ssh.formatFilename?.({ host: 'h', path: 'a' }, {})
  expect(name).toBe('json:{"driver": "ssh", "path": "a", "server": {"port": "22", "host": "h"}}')
})

test.each([
  ['ssh://', 'missing hostname in URI'],
  ['ssh:///a', 'missing hostname in URI'],
  ['ssh://host', 'missing remote path in URI'],
  ['ssh://host/a?host_key_check=maybe', 'unknown host_key_check setting (maybe)'],
  ['ssh://host/a?x=1', "unknown parameter in '?x=1'"],
  ['ssh://me:secret@host/a', 'a password cannot stand in the name'],
  ['ssh://host/%zz', 'No valid URL specified'],
])('%s is refused', (name, message) => {
  expect(() => parse(name)).toThrow(message)
  expect(() => parse(name)).not.toThrow('secret')
})

test('known_hosts is read as sshd(8) has it', () => {
  // What ssh-keygen -H makes of 192.168.1.61.
  const hashed = '|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg='
  const text = [
    '# a comment',
    'host,other ssh-ed25519 ONE comment',
    '*.net,!bad.net ssh-rsa TWO',
    '@cert-authority host ssh-rsa THREE',
    '@revoked host ssh-rsa FOUR',
    '[host]:2222 ssh-rsa FIVE',
    `${hashed} ssh-rsa SIX`,
    'h?st ssh-rsa SEVEN',
    'host',
    '',
  ].join('\r\n')
  const keys = (name: string): string[] => keysIn(text, name).map(({ key, revoked }) => (revoked ? `!${key}` : key))
  expect(keys('host')).toEqual(['ONE', '!FOUR', 'SEVEN'])
  expect(keys('good.net')).toEqual(['TWO'])
  expect(keys('bad.net')).toEqual([])
  expect(keys('[host]:2222')).toEqual(['FIVE'])
  expect(keys('192.168.1.61')).toEqual(['SIX'])
  expect(keys('nobody')).toEqual([])
})

test('patterns with many stars are matched in time', () => {
  const started = process.cpuUsage().user
  keysIn(`${'*a'.repeat(2000)} ssh-rsa KEY`, 'a'.repeat(1000))
  expect(process.cpuUsage().user - started).toBeLessThan(500_000)
})
