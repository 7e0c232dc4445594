/** A page that shows a running block layer, and the server that hands it out. */

export { ConsoleServer, type ConsoleSettings } from './server.ts'
