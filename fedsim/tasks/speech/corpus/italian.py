"""Italian sentences from a small grammar: what the embedded corpus says.

Purpose: enough variety of sounds, words and lengths that a speech model has something to learn,
from words that we wrote down ourselves, so that the corpus has no licence of anybody else and
its transcripts are exact. Agreement of gender and number, articles and contracted prepositions
are right; meaning is not sought. A sentence is a pure function of the generator passed in.
"""

from __future__ import annotations

import numpy as np

# noun: singular plural; gender follows from the list it stands in
_MASCULINE = """
amico amici|albero alberi|anno anni|autobus autobus|bambino bambini|bicchiere bicchieri|bosco boschi
caffè caffè|campo campi|cane cani|cavallo cavalli|cielo cieli|colore colori|coltello coltelli
cugino cugini|cuoco cuochi|dottore dottori|esame esami|figlio figli|fiore fiori|fiume fiumi
fratello fratelli|gatto gatti|giardino giardini|giorno giorni|giornale giornali|gioco giochi
inverno inverni|lago laghi|lavoro lavori|letto letti|libro libri|maestro maestri|mare mari|mattino mattini
medico medici|mercato mercati|mese mesi|monte monti|museo musei|negozio negozi|nonno nonni|occhio occhi
orologio orologi|orto orti|paese paesi|palazzo palazzi|pane pani|pesce pesci|piatto piatti|ponte ponti
porto porti|prato prati|problema problemi|professore professori|quaderno quaderni|ragazzo ragazzi
re re|ristorante ristoranti|sasso sassi|scoglio scogli|scrittore scrittori|segreto segreti
sentiero sentieri|signore signori|sogno sogni|sole soli|specchio specchi|spettacolo spettacoli
straniero stranieri|studente studenti|tavolo tavoli|teatro teatri|tempo tempi|tetto tetti|treno treni
uccello uccelli|uomo uomini|vento venti|viaggio viaggi|vicino vicini|vino vini|zaino zaini|zio zii
"""
_FEMININE = """
acqua acque|amica amiche|ape api|arancia arance|automobile automobili|bambina bambine|barca barche
bicicletta biciclette|bottega botteghe|camicia camicie|campagna campagne|canzone canzoni|carta carte
casa case|chiave chiavi|chiesa chiese|città città|collina colline|cucina cucine|domanda domande
donna donne|erba erbe|estate estati|farfalla farfalle|festa feste|figlia figlie|finestra finestre
foglia foglie|fontana fontane|fotografia fotografie|goccia gocce|idea idee|isola isole|lampada lampade
lettera lettere|lezione lezioni|lingua lingue|luce luci|luna lune|macchina macchine|maestra maestre
mano mani|mela mele|montagna montagne|musica musiche|nave navi|neve nevi|notte notti|nuvola nuvole
opera opere|ora ore|paura paure|piazza piazze|pietra pietre|pioggia piogge|pizza pizze|porta porte
primavera primavere|ragazza ragazze|risposta risposte|rosa rose|scala scale|scuola scuole|sedia sedie
sera sere|settimana settimane|signora signore|sorella sorelle|spiaggia spiagge|stagione stagioni
stanza stanze|stella stelle|storia storie|strada strade|tazza tazze|torre torri|uva uve|valigia valigie
valle valli|verità verità|vita vite|voce voci|volpe volpi|zia zie
"""
# adjective: the four forms, or two for those in -e
_ADJECTIVES = """
alto alta alti alte|antico antica antichi antiche|bianco bianca bianchi bianche|breve breve brevi brevi
caldo calda caldi calde|caro cara cari care|chiaro chiara chiari chiare|curioso curiosa curiosi curiose
debole debole deboli deboli|difficile difficile difficili difficili|dolce dolce dolci dolci
famoso famosa famosi famose|felice felice felici felici|forte forte forti forti
freddo fredda freddi fredde|gentile gentile gentili gentili|giallo gialla gialli gialle
giovane giovane giovani giovani|grande grande grandi grandi|leggero leggera leggeri leggere
lento lenta lenti lente|libero libera liberi libere|lontano lontana lontani lontane
lungo lunga lunghi lunghe|magro magra magri magre|nero nera neri nere|nuovo nuova nuovi nuove
piccolo piccola piccoli piccole|pieno piena pieni piene|povero povera poveri povere
prezioso preziosa preziosi preziose|profondo profonda profondi profonde|pulito pulita puliti pulite
rapido rapida rapidi rapide|rosso rossa rossi rosse|semplice semplice semplici semplici
sicuro sicura sicuri sicure|silenzioso silenziosa silenziosi silenziose|sottile sottile sottili sottili
strano strana strani strane|stretto stretta stretti strette|tranquillo tranquilla tranquilli tranquille
triste triste tristi tristi|vecchio vecchia vecchi vecchie|veloce veloce veloci veloci
verde verde verdi verdi|vuoto vuota vuoti vuote
"""
# transitive verbs: third person singular and plural
_TRANSITIVE = """
abbraccia abbracciano|accompagna accompagnano|ascolta ascoltano|aspetta aspettano|attraversa attraversano
cerca cercano|chiama chiamano|chiude chiudono|compra comprano|conosce conoscono|copre coprono
costruisce costruiscono|descrive descrivono|dimentica dimenticano|disegna disegnano|divide dividono
fotografa fotografano|guarda guardano|illumina illuminano|immagina immaginano|incontra incontrano
indica indicano|lascia lasciano|lava lavano|legge leggono|mostra mostrano|nasconde nascondono
nota notano|osserva osservano|perde perdono|porta portano|prende prendono|prepara preparano
protegge proteggono|raccoglie raccolgono|racconta raccontano|riceve ricevono|riconosce riconoscono
ricorda ricordano|ritrova ritrovano|saluta salutano|sceglie scelgono|scopre scoprono|segue seguono
sogna sognano|spinge spingono|tiene tengono|trova trovano|usa usano|vede vedono|vende vendono
"""
_INTRANSITIVE = """
arriva arrivano|balla ballano|cade cadono|cammina camminano|canta cantano|corre corrono|dorme dormono
entra entrano|gioca giocano|lavora lavorano|nasce nascono|nuota nuotano|parla parlano|parte partono
passeggia passeggiano|pensa pensano|piange piangono|resta restano|ride ridono|riposa riposano
ritorna ritornano|scappa scappano|scende scendono|sorride sorridono|studia studiano|trema tremano
viaggia viaggiano|vive vivono|vola volano
"""
_ADVERBS = """
adesso ancora bene domani dopo forse insieme lentamente lontano male oggi piano presto qualche_volta
quasi_sempre raramente sempre spesso stamattina stasera subito tardi troppo_presto velocemente volentieri
di_nuovo in_silenzio all'improvviso senza_fretta ogni_giorno una_volta_alla_settimana
"""
_PREPOSITIONS = "accanto_a|davanti_a|dentro|dietro|di_fronte_a|sopra|sotto|vicino_a|verso|con|per|su|in|da"
_LINKS = "mentre|perché|quando|e|ma|anche_se|finché|dove|e_poi|prima_che_sia_tardi"
_NUMBERS = "due tre quattro cinque sei sette otto nove dieci undici dodici venti trenta cento mille"
_PLACES = "Roma Milano Torino Napoli Palermo Genova Bologna Firenze Venezia Trieste Bari Verona Cagliari"
_OPENINGS = (
    "secondo me|di solito|per fortuna|a quanto pare|qualche anno fa|la settimana scorsa|verso mezzogiorno"
    "|a mezzanotte|in primavera|d'estate|in autunno|d'inverno|dopo la pioggia|prima di cena|da lontano"
)


def _rows(text: str) -> list[tuple[str, ...]]:
    cells = text.strip().replace("\n", "|").split("|")
    return [tuple(cell.split()) for cell in cells]


_NOUNS = [(*row, 0) for row in _rows(_MASCULINE)] + [(*row, 1) for row in _rows(_FEMININE)]
_ADJ = _rows(_ADJECTIVES)
_TRANS, _INTRANS = _rows(_TRANSITIVE), _rows(_INTRANSITIVE)
_ADV = [word.replace("_", " ") for word in _ADVERBS.split()]
_PREP = [word.replace("_", " ") for word in _PREPOSITIONS.split("|")]
_LINK = [word.replace("_", " ") for word in _LINKS.split("|")]
_NUM, _CITY, _OPEN = _NUMBERS.split(), _PLACES.split(), _OPENINGS.split("|")
_CONTRACTED = {
    ("a", "il"): "al", ("a", "lo"): "allo", ("a", "la"): "alla", ("a", "l'"): "all'",
    ("a", "i"): "ai", ("a", "gli"): "agli", ("a", "le"): "alle",
    ("da", "il"): "dal", ("da", "lo"): "dallo", ("da", "la"): "dalla", ("da", "l'"): "dall'",
    ("da", "i"): "dai", ("da", "gli"): "dagli", ("da", "le"): "dalle",
    ("in", "il"): "nel", ("in", "lo"): "nello", ("in", "la"): "nella", ("in", "l'"): "nell'",
    ("in", "i"): "nei", ("in", "gli"): "negli", ("in", "le"): "nelle",
    ("su", "il"): "sul", ("su", "lo"): "sullo", ("su", "la"): "sulla", ("su", "l'"): "sull'",
    ("su", "i"): "sui", ("su", "gli"): "sugli", ("su", "le"): "sulle",
}  # fmt: skip


def _impure(word: str) -> bool:
    """Whether a masculine noun takes ``lo`` and ``gli`` (s + consonant, z, ps, gn, x, y)."""
    head = word[:2]
    return word[0] in "zxy" or head in ("ps", "pn", "gn") or (word[0] == "s" and head[1] not in "aeiouè")


def article(word: str, feminine: bool, plural: bool) -> str:
    """The definite article before ``word`` (which follows it at once)."""
    vowel = word[0] in "aeiouàèéìòùAEIOU"
    if feminine:
        return "le" if plural else "l'" if vowel else "la"
    if plural:
        return "gli" if vowel or _impure(word) else "i"
    return "l'" if vowel else "lo" if _impure(word) else "il"


def _pick(draw: np.random.Generator, options: list[str]) -> str:
    return options[int(draw.integers(len(options)))]


def _noun_phrase(draw: np.random.Generator, preposition: str = "") -> tuple[str, bool]:
    """A noun with its article and perhaps an adjective; and whether it is plural."""
    singular, plural_form, gender = _NOUNS[int(draw.integers(len(_NOUNS)))]
    feminine, shape = bool(gender), draw.random()
    if shape < 0.12:
        words, plural, art = [_pick(draw, _NUM), str(plural_form)], True, ""
    else:
        plural = bool(draw.random() < 0.3)
        noun = str(plural_form if plural else singular)
        art, words = article(noun, feminine, plural), [noun]
    if draw.random() < 0.4:
        words.append(_ADJ[int(draw.integers(len(_ADJ)))][2 * plural + feminine])
    *head, last = preposition.split() or [""]
    lead = _CONTRACTED.get((last, art), f"{last} {art}".strip())
    phrase = " ".join([*head, lead, *words] if lead else [*head, *words])
    return phrase.replace("' ", "'"), plural


def _clause(draw: np.random.Generator) -> str:
    subject, plural = _noun_phrase(draw)
    if draw.random() < 0.62:
        verb = _TRANS[int(draw.integers(len(_TRANS)))][plural]
        parts = [subject, verb, _noun_phrase(draw)[0]]
    else:
        parts = [subject, _INTRANS[int(draw.integers(len(_INTRANS)))][plural]]
        if draw.random() < 0.5:
            parts.append(_pick(draw, _ADV))
    tail = draw.random()
    if tail < 0.4:
        parts.append(_noun_phrase(draw, _pick(draw, _PREP))[0])
    elif tail < 0.55:
        parts.append(f"a {_pick(draw, _CITY)}")
    return " ".join(parts)


def sentence(draw: np.random.Generator) -> str:
    """One Italian sentence in lower case but for names, without a full stop."""
    text = _clause(draw)
    if draw.random() < 0.5:
        link = _pick(draw, _LINK)
        text += f" {link}" if link.startswith("prima") else f" {link} {_clause(draw)}"
    return f"{_pick(draw, _OPEN)} {text}" if draw.random() < 0.25 else text


def vocabulary() -> set[str]:
    """Every word form that the grammar knows, without articles and prepositions."""
    rows = [*_rows(_MASCULINE), *_rows(_FEMININE), *_ADJ, *_TRANS, *_INTRANS]
    singles = [*_ADV, *_NUM, *_CITY, *_OPEN, *_LINK]
    return {word for row in rows for word in row} | {word for text in singles for word in text.split()}
