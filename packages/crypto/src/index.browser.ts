/** Ciphers over sectors and LUKS volumes, for browsers. */
export * from './library.ts'
export { browserPlatform as platform } from './platform-browser.ts'
