/** Mails as their readers see them. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

import PostalMime from 'postal-mime';

import { eventually } from './deadline.js';

const ARRIVAL_MS = 120_000;
const CODE = /\b[A-Z2-7]{5}-[A-Z2-7]{5}\b/;

/**
 * @typedef {object} Mail
 * @property {string} from address of the sender
 * @property {string} subject
 * @property {string} text
 * @property {string | undefined} code the code in it, of the form `XXXXX-XXXXX`
 */

/** The mails to one address, of those that the stack's mail server keeps as files. */
export class Mailbox {
  #folder;
  #address;
  #last = '';

  /**
   * @param {string} folder where the mail server puts the files
   * @param {string} address
   */
  constructor(folder, address) {
    this.#folder = folder;
    this.#address = address;
  }

  /**
   * The next mail, in the order of arrival.
   *
   * @returns {Promise<Mail>}
   */
  next() {
    return eventually(() => this.#find(), ARRIVAL_MS, `a mail to ${this.#address}`);
  }

  async #find() {
    for (const name of (await readdir(this.#folder)).filter((name) => name.endsWith('.eml')).sort()) {
      if (name <= this.#last) continue;
      this.#last = name;
      const source = await readFile(join(this.#folder, name));
      const { headers, from, subject, text } = await PostalMime.parse(source);
      const recipients = headers.find(({ key }) => key === 'x-envelope-to').value;
      if (recipients.includes(`<${this.#address}>`)) {
        return { from: from.address, subject, text, code: findCode(text) };
      }
    }
  }
}

/** The code that is in a text, which may be a mail as a screen shows it. */
export function findCode(text) {
  return CODE.exec(text)?.[0];
}
