/** The PLC directory that the network uses, which checks every operation it is sent. */
import { Database, PlcServer } from '@did-plc/server';

/** @returns {Promise<{ url: string, stop: () => Promise<void> }>} */
export async function startPlc() {
  const server = PlcServer.create({ db: Database.mock() });
  const { port } = (await server.start()).address();
  return { url: `http://localhost:${port}`, stop: () => server.destroy() };
}
